#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/losses/member_inputs.hpp>
#include <dissent/losses/similarity.hpp>

#include <string>
#include <vector>

namespace dissent::losses {

/// Added to a map's standard deviation before it divides; deviation of the noise that breaks ties
/// of small_logits.
inline constexpr double kStdEps = 1e-6;
inline constexpr double kLogitNoise = 1e-4;

/// The output o_mb whose derivative weighs the channels; p = softmax z, y the label.
enum class GradCamTarget {
  kGtLogit,      ///< `gt_logit`: z_y
  kGtProb,       ///< `gt_prob`: p_y
  kAltLogits,    ///< `alt_logits`: mean of the other C - 1 logits
  kAltProbs,     ///< `alt_probs`: (1 - p_y) / (C - 1)
  kSmallLogits,  ///< `small_logits`: mean of the floor(C / 2) smallest of z + kLogitNoise * noise,
                 ///< taken without the noise; needs no label
};
enum class MapActivation { kRelu, kAbs, kNone };

struct GradCamOptions {
  GradCamTarget target = GradCamTarget::kGtLogit;
  MapActivation activation = MapActivation::kRelu;
  int64_t crop = 1;  ///< pixels cut from each side of the map (`padding` of the reference); 0 ..
                     ///< (min(H, W) - 1) / 2
  Similarity similarity = Similarity::kCosine;
};

/// Saliency maps of members and how alike they are (SDDE's diversity loss, to be minimised):
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
///               both cases. Grad mode need not be on.
/// scale    > 0: the outputs are multiplied by it before they are differentiated, and the
/// derivatives
///          divided by it: the same value (the same bits for 1), but through f16 layers (autocast)
///          small derivatives do not become 0. Where it is not 1, a derivative that is not finite
///          makes all of that tensor NaN, so that no activation hides it
/// The derivative of the loss is the total one: through f and, a second derivative of the network,
/// through a. It is with respect to whatever the graph reaches. A sample's maps depend on that
/// sample alone in networks that keep samples apart (batch norm in eval mode).
/// Constant maps standardise to 0 exactly, and the derivative of a std of 0 is 0: value and
/// gradient are finite.
/// Cost: one pass through the part of the network above the maps (MemberInputs says when M), O(M)
/// in time and memory; then similarity.hpp. saliency_maps takes M >= 1 (the members of one rank),
/// saliency_similarity the maps of all members, gathered; gradcam is both, M >= 2. Equal noisy
/// logits at the cut of small_logits go by class number (the reference raises an error).
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

/// Noise of small_logits, [M, B, C] of the dtype and device of `like` [M, B, C], from counters:
/// member first_member + m of step `step` draws the same numbers on any split of the members.
at::Tensor logit_noise(const at::Tensor& like, uint64_t seed, uint64_t step,
                       int64_t first_member = 0);

/// By name and back. Throws Error::kUsage that lists the known names.
GradCamTarget grad_cam_target(const std::string& name);
std::string to_string(GradCamTarget target);
const std::vector<std::string>& grad_cam_target_names();
MapActivation map_activation(const std::string& name);
std::string to_string(MapActivation activation);
const std::vector<std::string>& map_activation_names();

}  // namespace dissent::losses
