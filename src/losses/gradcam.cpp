#include <dissent/losses/gradcam.hpp>

#include <cmath>

#include "core/random.hpp"
#include "core/tensor_check.hpp"
#include "losses/enum_names.hpp"
#include "losses/member_gradients.hpp"
#include "losses/root.hpp"

namespace dissent::losses {
namespace {

constexpr uint64_t kLogitStream =
    uint64_t{1}
    << 40;  // apart from the other draws of noise; numbers are written into runs: never change it
constexpr Argument kMaps = {"gradcam", "feature_maps"};

const EnumNames<GradCamTarget>& targets() {
  static const EnumNames<GradCamTarget> names("target of gradcam",
                                              {{"gt_logit", GradCamTarget::kGtLogit},
                                               {"gt_prob", GradCamTarget::kGtProb},
                                               {"alt_logits", GradCamTarget::kAltLogits},
                                               {"alt_probs", GradCamTarget::kAltProbs},
                                               {"small_logits", GradCamTarget::kSmallLogits}});
  return names;
}

const EnumNames<MapActivation>& activations() {
  static const EnumNames<MapActivation> names("activation of maps",
                                              {{"relu", MapActivation::kRelu},
                                               {"abs", MapActivation::kAbs},
                                               {"none", MapActivation::kNone}});
  return names;
}

// [M, B]. Stable, so that equal logits go by class number.
at::Tensor mean_of_small(const at::Tensor& logits, const at::Tensor& noise) {
  const auto noisy = logits.detach() + noise * kLogitNoise;
  const auto order = std::get<1>(noisy.sort(true, -1, false));
  return logits.gather(-1, order.narrow(-1, 0, logits.size(-1) / 2)).mean(-1);
}

// [M, B], with graph.
at::Tensor target_outputs(const at::Tensor& logits, const at::Tensor& labels, GradCamTarget target,
                          const at::Tensor& noise) {
  const auto others = static_cast<double>(logits.size(-1) - 1);
  switch (target) {
    case GradCamTarget::kGtLogit: return at_label(logits, labels);
    case GradCamTarget::kGtProb: return at_label(at::softmax(logits, -1), labels);
    case GradCamTarget::kAltLogits: return (logits.sum(-1) - at_label(logits, labels)) / others;
    case GradCamTarget::kAltProbs: return (1 - at_label(at::softmax(logits, -1), labels)) / others;
    case GradCamTarget::kSmallLogits: return mean_of_small(logits, noise);
  }
  DISSENT_FAIL(kInternal, "gradcam: target {}", static_cast<int>(target));
}

void check_arguments(const at::Tensor& logits, const at::Tensor& labels,
                     const MemberInputs& feature_maps, const GradCamOptions& options,
                     const at::Tensor& noise) {
  check_outputs("gradcam", "logits", logits, 1);
  const int64_t classes =
      options.target == GradCamTarget::kGtLogit || options.target == GradCamTarget::kGtProb ? 1 : 2;
  DISSENT_CHECK(logits.size(2) >= classes, kUsage,
                "gradcam: logits: expected C >= 2 for target {}, found {}",
                to_string(options.target), describe(logits));
  if (options.target == GradCamTarget::kSmallLogits) {
    const bool fits = noise.defined() && noise.sizes() == logits.sizes() &&
                      noise.scalar_type() == logits.scalar_type() &&
                      noise.device() == logits.device();
    DISSENT_CHECK(fits, kUsage, "gradcam: noise: expected {} for target small_logits, found {}",
                  describe(logits), describe(noise));
  } else {
    check_labels("gradcam", "labels", labels, logits.size(1), logits.size(2), logits.device());
  }
  check_inputs(kMaps, logits, feature_maps, 4);
  const auto& first = feature_maps.tensors().front();
  for (const auto& tensor : feature_maps.tensors())
    DISSENT_CHECK(tensor.size(-1) == first.size(-1) && tensor.size(-2) == first.size(-2), kUsage,
                  "gradcam: feature_maps: expected H x W = {} x {} as in member 0, found {}",
                  first.size(-2), first.size(-1), describe(tensor));
}

at::Tensor activated(const at::Tensor& maps, MapActivation activation) {
  return activation == MapActivation::kRelu  ? maps.relu()
         : activation == MapActivation::kAbs ? maps.abs()
                                             : maps;
}

at::Tensor standardised(const at::Tensor& maps) {
  // From the first pixel on, so that a constant map is 0 to the last bit and its deviation too.
  const auto shifted = maps - maps.detach().narrow(-1, 0, 1).narrow(-2, 0, 1);
  const auto centred = shifted - shifted.mean(at::IntArrayRef{-2, -1}, true);
  return centred / (root(centred.square().mean(at::IntArrayRef{-2, -1}, true)) + kStdEps);
}

}  // namespace

at::Tensor activation_maps(const at::Tensor& logits, const at::Tensor& labels,
                           const MemberInputs& feature_maps, const GradCamOptions& options,
                           const at::Tensor& noise, bool create_graph, double scale) {
  check_arguments(logits, labels, feature_maps, options, noise);
  at::AutoGradMode with_graph(true);
  const auto outputs = target_outputs(logits, labels, options.target, noise).sum(1);
  const auto gradients = member_gradients(kMaps, outputs, feature_maps, create_graph, scale);
  at::AutoGradMode mode(create_graph);
  const auto features = parts(feature_maps, logits.size(0));
  std::vector<at::Tensor> maps;
  for (size_t m = 0; m < gradients.size(); ++m) {
    const auto weights = gradients[m].mean(at::IntArrayRef{-2, -1}).unsqueeze(1);  // [B, 1, K]
    maps.push_back(at::bmm(weights, features[m].flatten(2))
                       .view({-1, features[m].size(2), features[m].size(3)}));
  }
  return activated(at::stack(maps), options.activation);
}

at::Tensor saliency_maps(const at::Tensor& logits, const at::Tensor& labels,
                         const MemberInputs& feature_maps, const GradCamOptions& options,
                         const at::Tensor& noise, bool create_graph, double scale) {
  const auto maps =
      activation_maps(logits, labels, feature_maps, options, noise, create_graph, scale);
  const int64_t most = (std::min(maps.size(2), maps.size(3)) - 1) / 2;
  DISSENT_CHECK(options.crop >= 0 && options.crop <= most, kUsage,
                "gradcam: crop: expected 0 .. {} for maps of {} x {}, found {}", most, maps.size(2),
                maps.size(3), options.crop);
  at::AutoGradMode mode(create_graph);
  const int64_t height = maps.size(2) - 2 * options.crop, width = maps.size(3) - 2 * options.crop;
  return standardised(maps.narrow(2, options.crop, height).narrow(3, options.crop, width));
}

at::Tensor saliency_similarity(const at::Tensor& maps, Similarity kind) {
  DISSENT_CHECK(maps.defined() && maps.dim() == 4, kUsage,
                "saliency_similarity: maps: expected [M, B, h, w], found {}", describe(maps));
  return similarity(maps.flatten(2), kind);
}

at::Tensor gradcam(const at::Tensor& logits, const at::Tensor& labels,
                   const MemberInputs& feature_maps, const GradCamOptions& options,
                   const at::Tensor& noise, bool create_graph) {
  check_outputs("gradcam", "logits", logits, options.similarity == Similarity::kLogDet ? 1 : 2);
  const auto maps = saliency_maps(logits, labels, feature_maps, options, noise, create_graph);
  at::AutoGradMode mode(create_graph);
  return saliency_similarity(maps, options.similarity);
}

at::Tensor logit_noise(const at::Tensor& like, uint64_t seed, uint64_t step, int64_t first_member) {
  check_outputs("logit_noise", "like", like, 1);
  check_range("logit_noise", "first_member", static_cast<double>(first_member), 0, 0x1p53);
  const at::NoGradGuard no_grad;
  auto noise = at::empty(like.sizes(), at::kDouble);
  for (int64_t m = 0; m < like.size(0); ++m)
    fill_uniform(noise[m], 0, 1,
                 Random(seed, Purpose::kNoise,
                        kLogitStream + static_cast<uint64_t>(first_member + m), step));
  // Centres of 2^32 cells of (-1, 1), never an end of it, through the inverse of the normal
  // distribution.
  noise.mul_(2).add_(0x1p-32 - 1).erfinv_().mul_(std::sqrt(2.0));
  return noise.to(like.device(), like.scalar_type());
}

GradCamTarget grad_cam_target(const std::string& name) { return targets().value(name); }
std::string to_string(GradCamTarget target) { return targets().name(target); }
const std::vector<std::string>& grad_cam_target_names() { return targets().names(); }
MapActivation map_activation(const std::string& name) { return activations().value(name); }
std::string to_string(MapActivation activation) { return activations().name(activation); }
const std::vector<std::string>& map_activation_names() { return activations().names(); }

}  // namespace dissent::losses
