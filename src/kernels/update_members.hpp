#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::kernels {

/// Rules of train/optimizer.hpp.
struct UpdateOptions {
  enum class Rule { kAdamW, kAdam, kMomentum, kNesterov, kPlain } rule = Rule::kAdamW;
  double weight_decay = 0, momentum = 0, beta1 = 0, beta2 = 0, epsilon = 0;
};

/// One optimiser step of n members of a stack, each element read and written once.
/// values, first, second [m, P] f32 (first: first moment or momentum; undefined where the rule has
/// none); steps [m] f32: steps taken, this one included; slots [n] i64: positions in the stack,
/// each at most once; gradient [n, P] f32; rates, scales [n] f64: learning rate and factor of the
/// gradient; a member whose scale is negative is left as it is. All on one device: the CPU (a plain
/// loop) or CUDA (update_members.cu, on the current stream).
void update_members(const UpdateOptions& options, const at::Tensor& values, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& steps, const at::Tensor& slots,
                    const at::Tensor& gradient, const at::Tensor& rates, const at::Tensor& scales);

}  // namespace dissent::kernels
