#pragma once
#include <cstdint>
#include <vector>

#include "models/head.hpp"

namespace dissent {

/// The member network of SED: the second half of a transformer's last block, applied to the class
/// token, the final norm and the classifier.
///   y = x + gamma_2 * fc2(gelu(fc1(norm2(x))));  logits = head(norm(y))
/// LayerNorm with eps 1e-6 and biased variance, exact (erf) GELU. Linear weights truncated normal
/// with deviation 0.02, biases 0, norms 1 and 0, gamma_2 1e-4. 5,495,272 parameters at 768 / 3072 /
/// 1000.
/// Ref: SED, diverse_universe/local_models/{deit3,common}.py; reference cases sed_member.h5
class BlockHead final : public Head {
 public:
  BlockHead(int64_t dim, int64_t hidden, int64_t classes);
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
  int64_t dim_;
  size_t norm2_weight_, norm2_bias_, fc1_weight_, fc1_bias_, fc2_weight_, fc2_bias_, gamma_,
      norm_weight_, norm_bias_, head_weight_, head_bias_;
};

}  // namespace dissent
