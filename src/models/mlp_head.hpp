#pragma once
#include <cstdint>
#include <vector>

#include "models/head.hpp"

namespace dissent {

/// logits = fc2(relu(fc1(x))). Initialised as by PyTorch's default: weights and biases uniform in
/// +-1/sqrt(in).
class MlpHead final : public Head {
 public:
  MlpHead(int64_t dim, int64_t hidden, int64_t classes);
  void initialise(at::Tensor flat, uint64_t seed, int64_t member) const override;
  at::Tensor forward(const at::Tensor& flat, const at::Tensor& x,
                     std::vector<at::Tensor>* saved) const override;
  HeadGradient backward(const at::Tensor& flat, const at::Tensor& x,
                        const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                        at::Tensor* dx) const override;
  at::Tensor forward_stack(const at::Tensor& flats, const at::Tensor& x,
                           std::vector<at::Tensor>* saved) const override;
  void backward_stack(const at::Tensor& flats, const at::Tensor& x,
                      const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                      at::Tensor& gradient) const override;

 private:
  size_t fc1_weight_, fc1_bias_, fc2_weight_, fc2_bias_;
};

/// logits = head(x), one linear layer; initialised as MlpHead.
class LinearHead final : public Head {
 public:
  LinearHead(int64_t dim, int64_t classes);
  void initialise(at::Tensor flat, uint64_t seed, int64_t member) const override;
  at::Tensor forward(const at::Tensor& flat, const at::Tensor& x,
                     std::vector<at::Tensor>* saved) const override;
  HeadGradient backward(const at::Tensor& flat, const at::Tensor& x,
                        const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                        at::Tensor* dx) const override;
  at::Tensor forward_stack(const at::Tensor& flats, const at::Tensor& x,
                           std::vector<at::Tensor>* saved) const override;
  void backward_stack(const at::Tensor& flats, const at::Tensor& x,
                      const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                      at::Tensor& gradient) const override;

 private:
  size_t weight_, bias_;
};

}  // namespace dissent
