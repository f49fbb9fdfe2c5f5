#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/parameters.hpp"

namespace dissent {

/// Gradient of a linear weight [out, in], stored as the two factors of dw = dy' x: the optimiser
/// multiplies them block by block and updates the weight while the block is in cache, so the
/// gradient itself need not be written to memory.
struct LinearGradient {
  size_t entry;   ///< position in the layout
  at::Tensor dy;  ///< [B, out]
  at::Tensor x;   ///< [B, in]
};

/// Gradient of a vector parameter (bias, norm, scale).
struct VectorGradient {
  size_t entry;
  at::Tensor value;  ///< shape of the entry
};

struct HeadGradient {
  std::vector<LinearGradient> linear;
  std::vector<VectorGradient> vectors;
};

/// The whole gradient [P] of a member with all products computed; 0 between the entries.
at::Tensor flatten(const HeadGradient& gradient, const ParameterLayout& layout);

/// A member network on features: x [B, D] -> logits [B, C]. Stateless: the parameters are a
/// member's flat vector [P] (parameters.hpp). f32 or f64, any device. The derivative is written by
/// hand (heads are few and small, and autograd would allocate every weight gradient in each step).
class Head {
 public:
  virtual ~Head() = default;
  const ParameterLayout& layout() const { return layout_; }
  /// C. The last parameter of every head is the bias of its classifier, [C].
  int64_t classes() const { return layout_.entries().back().numel; }
  /// Fills a member's flat vector [P] on the CPU with its initial values; draws are keyed by seed
  /// and member.
  virtual void initialise(at::Tensor flat, uint64_t seed, int64_t member) const = 0;
  /// logits [B, C]. With `saved`, stores there what backward needs.
  virtual at::Tensor forward(const at::Tensor& flat, const at::Tensor& x,
                             std::vector<at::Tensor>* saved) const = 0;
  /// Gradient of sum(dlogits * logits), with the parameters of the forward pass. With `dx`, also
  /// the gradient with respect to x [B, D].
  virtual HeadGradient backward(const at::Tensor& flat, const at::Tensor& x,
                                const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                                at::Tensor* dx = nullptr) const = 0;
  /// The same for n members at once, as batched products, for a device: flats [n, P] of f32, f64 or
  /// bf16, x [n, B, D] of the same dtype, logits [n, B, C].
  virtual at::Tensor forward_stack(const at::Tensor& flats, const at::Tensor& x,
                                   std::vector<at::Tensor>* saved) const = 0;
  /// Writes the gradient of every entry into `gradient` [n, P] (f32 or f64); values between the
  /// entries are not changed.
  virtual void backward_stack(const at::Tensor& flats, const at::Tensor& x,
                              const std::vector<at::Tensor>& saved, const at::Tensor& dlogits,
                              at::Tensor& gradient) const = 0;
  /// Floating-point operations of one row's forward pass.
  int64_t forward_flops() const;

 protected:
  ParameterLayout layout_;
};

/// A registered head.
struct HeadSpec {
  std::string name;
  std::string meaning;
  std::string citation;
  bool takes_hidden;
  std::unique_ptr<Head> (*make)(int64_t dim, int64_t hidden, int64_t classes);
};

/// The table of heads: block_head, mlp, linear.
const std::vector<HeadSpec>& head_registry();

/// hidden: empty for 4 * dim. Error::kUsage for an unknown name (with the nearest known one) or
/// sizes below 1.
std::unique_ptr<Head> make_head(const std::string& name, int64_t dim, std::optional<int64_t> hidden,
                                int64_t classes);

}  // namespace dissent
