#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/losses/member_inputs.hpp>

#include <string>
#include <vector>

namespace dissent::losses {

/// The output that is differentiated with respect to the image.
enum class InputGradientMode {
  kMax,  ///< `max`: the largest logit (one class on ties)
  kMin,  ///< `min`: the smallest logit
  kGt,   ///< `gt`: the logit of the label
  kSum,  ///< `sum`: the sum of all logits
};

struct InputGradientOptions {
  InputGradientMode mode = InputGradientMode::kGt;
};

/// Similarity of the members' input gradients (to be minimised):
///   g_mb = d o_mb / d image_mb, flattened to D = all elements of an image
///       input_gradients  [M, B, D]
///   loss = similarity(g, Similarity::kCosine)   input_gradient   scalar, -1 / (M - 1) .. 1
/// logits   [M, B, C]  f32 or f64, any device, with the graph that leads to the images
/// labels   [B]        i64, 0 .. C - 1, same device; read for `gt` only (may be undefined)
/// images   [B, ...] of each member, stacked, or shared (member_inputs.hpp), same dtype and device,
///          requiring gradients
/// create_graph  false: without graph, for evaluation; the logits' graph stays usable in both
///               cases. Grad mode may be off.
/// scale    > 0: the outputs are multiplied by it before they are differentiated, and the
///          derivatives are divided by it. The value is the same (bitwise for 1), but small
///          derivatives do not underflow to 0 in f16 layers (autocast). With a scale other than 1 a
///          derivative that is not finite makes the whole tensor NaN
/// The derivative of the loss is a second derivative of the network. A gradient of 0 gives cosine 0
/// and a finite derivative.
/// Cost: one pass through the networks (MemberInputs says when M), O(M) in time and memory.
/// input_gradients takes M >= 1 (the members of one rank).
/// Throws Error::kUsage (shape, dtype, device, label out of range, logits that do not depend on the
/// images, one member).
/// Ref: sdde openood/trainers/diversity/inpgrad.py; cases sdde_losses.h5 inpgrad.
at::Tensor input_gradients(const at::Tensor& logits, const at::Tensor& labels,
                           const MemberInputs& images, const InputGradientOptions& options,
                           bool create_graph = true, double scale = 1);
at::Tensor input_gradient(const at::Tensor& logits, const at::Tensor& labels,
                          const MemberInputs& images, const InputGradientOptions& options,
                          bool create_graph = true);

/// Conversion from and to names.
/// Throws Error::kUsage that lists the known names.
InputGradientMode input_gradient_mode(const std::string& name);
std::string to_string(InputGradientMode mode);
const std::vector<std::string>& input_gradient_mode_names();

}  // namespace dissent::losses
