#pragma once
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <dissent/losses/member_inputs.hpp>

namespace dissent::losses {

/// A function and one of its arguments, for error messages.
struct Argument {
  const char* function;
  const char* name;
};

/// Throws Error::kUsage unless the inputs are tensors [B, ...] of `dims` dimensions (0: at least
/// two) for M members, of logits' dtype and device, in a graph. logits [M, B, C].
void check_inputs(Argument argument, const at::Tensor& logits, const MemberInputs& inputs,
                  int64_t dims);

/// The m-th part of the inputs, M tensors [B, ...].
std::vector<at::Tensor> parts(const MemberInputs& inputs, int64_t members);

/// d outputs_m / d (m-th part), M tensors [B, ...]; outputs [M], with graph. The graph of outputs
/// stays usable. With create_graph the gradients can be differentiated again. scale * outputs are
/// differentiated and the result is divided by scale; with a scale other than 1, a tensor whose
/// derivatives are not all finite is set to NaN.
/// Throws Error::kUsage if the outputs do not depend on the inputs, or if scale is not positive.
std::vector<at::Tensor> member_gradients(Argument argument, const at::Tensor& outputs,
                                         const MemberInputs& inputs, bool create_graph,
                                         double scale = 1);

/// z_mb at class y_b, [M, B], of values [M, B, C].
at::Tensor at_label(const at::Tensor& values, const at::Tensor& labels);

}  // namespace dissent::losses
