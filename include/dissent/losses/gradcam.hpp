#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/losses/member_inputs.hpp>
#include <dissent/losses/similarity.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent::losses {

/// Added to a map's standard deviation before division; standard deviation of the noise that breaks
/// ties of small_logits.
inline constexpr double kStdEps = 1e-6;
inline constexpr double kLogitNoise = 1e-4;

/// The output o_mb whose derivative weights the channels; p = softmax z, y the label.
enum class GradCamTarget {
  kGtLogit,      ///< `gt_logit`: z_y
  kGtProb,       ///< `gt_prob`: p_y
  kAltLogits,    ///< `alt_logits`: mean of the other C - 1 logits
  kAltProbs,     ///< `alt_probs`: (1 - p_y) / (C - 1)
  kSmallLogits,  ///< `small_logits`: mean of floor(C / 2) logits, those with the smallest z +
                 ///< kLogitNoise * noise; needs no label
};
enum class MapActivation { kRelu, kAbs, kNone };

struct GradCamOptions {
  GradCamTarget target = GradCamTarget::kGtLogit;
  MapActivation activation = MapActivation::kRelu;
  int64_t crop = 1;  ///< pixels removed from each side of the map (`padding` of the reference);
                     ///< 0 .. (min(H, W) - 1) / 2
  Similarity similarity = Similarity::kCosine;
};

/// Saliency maps of the members and their similarity (SDDE's diversity loss, to be minimised):
///   a_mbk = mean over h, w of d o_mb / d f_mbkhw   s_mbhw = act(sum_k a_mbk f_mbkhw)
///       activation_maps  [M, B, H, W]
///   n_mb  = (s - mean s) / (std s + kStdEps) of the cropped map, std with divisor h w
///       saliency_maps   [M, B, h, w]
///   loss  = similarity(n flattened to [M, B, h w], options.similarity)   gradcam   scalar
/// logits        [M, B, C]  f32 or f64, any device, with the graph that leads to feature_maps; C >=
///               2 except for gt_logit and gt_prob
/// labels        [B]        i64, 0 .. C - 1, same device; not read for small_logits (may be
///               undefined)
/// feature_maps  [B, K, H, W] of each member (member_inputs.hpp), same dtype and device; K may
///               differ between members, H and W may not
/// noise         [M, B, C]  standard normal draws of logits' dtype and device, for small_logits
///               only (logit_noise gives them)
/// create_graph  false: maps without graph, for evaluation; the graph of the logits stays usable in
///               both cases. Grad mode may be off.
/// scale         > 0: the outputs are multiplied by it before they are differentiated, and the
///               derivatives are divided by it. The value is the same (bitwise for 1), but small
///               derivatives do not underflow to 0 in f16 layers (autocast). With a scale other
///               than 1 a derivative that is not finite makes the whole tensor NaN, so that no
///               activation hides it
/// The derivative of the loss is the total one: through f and, by a second derivative of the
/// network, through a, with respect to every leaf of the graph. The maps of a sample depend on that
/// sample alone if the network does not mix samples (batch norm in eval mode).
/// A constant map is standardised to exactly 0, and the derivative of a std of 0 is 0: value and
/// gradient are finite.
/// Cost: one pass through the part of the network above the maps (MemberInputs says when M), O(M)
/// in time and memory; then similarity.hpp. saliency_maps takes M >= 1 (the members of one rank),
/// saliency_similarity the gathered maps of all members; gradcam does both, M >= 2. If noisy logits
/// of small_logits are equal, the lower class number counts as smaller (the reference raises an
/// error).
/// Throws Error::kUsage (shape, dtype, device, label out of range, crop too large, logits that do
/// not depend on the maps, too few members).
/// Ref: SDDE (arXiv 2306.06494); Grad-CAM (arXiv 1610.02391); sdde
/// openood/trainers/diversity/gradcam.py; cases sdde_losses.h5 gradcam.
at::Tensor activation_maps(const at::Tensor& logits, const at::Tensor& labels,
                           const MemberInputs& feature_maps, const GradCamOptions& options,
                           const at::Tensor& noise = {}, bool create_graph = true,
                           double scale = 1);
at::Tensor saliency_maps(const at::Tensor& logits, const at::Tensor& labels,
                         const MemberInputs& feature_maps, const GradCamOptions& options,
                         const at::Tensor& noise = {}, bool create_graph = true, double scale = 1);
at::Tensor saliency_similarity(const at::Tensor& maps, Similarity kind);
at::Tensor gradcam(const at::Tensor& logits, const at::Tensor& labels,
                   const MemberInputs& feature_maps, const GradCamOptions& options,
                   const at::Tensor& noise = {}, bool create_graph = true);

/// Noise of small_logits, [M, B, C] with the dtype and device of `like` [M, B, C]. It comes from a
/// counter-based generator: member first_member + m of step `step` draws the same numbers on every
/// split of the members.
at::Tensor logit_noise(const at::Tensor& like, uint64_t seed, uint64_t step,
                       int64_t first_member = 0);

/// Conversion from and to names.
/// Throws Error::kUsage that lists the known names.
GradCamTarget grad_cam_target(const std::string& name);
std::string to_string(GradCamTarget target);
const std::vector<std::string>& grad_cam_target_names();
MapActivation map_activation(const std::string& name);
std::string to_string(MapActivation activation);
const std::vector<std::string>& map_activation_names();

}  // namespace dissent::losses
