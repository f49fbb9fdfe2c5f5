#include <dissent/losses/gradcam.hpp>

#include <algorithm>
#include <any>
#include <cmath>
#include <cstdint>

#include "core/enum_names.hpp"
#include "core/random.hpp"
#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"
#include "losses/member_gradients.hpp"
#include "losses/root.hpp"

namespace dissent::losses {
namespace {

// Stream of random numbers, apart from the other draws of noise. Changing it would change the
// results of every run with small_logits.
constexpr uint64_t kLogitStream = uint64_t{1} << 40;
constexpr Argument kMaps = {"gradcam", "feature_maps"};

constexpr EnumName<GradCamTarget> kTargets[] = {{GradCamTarget::kGtLogit, "gt_logit"},
                                                {GradCamTarget::kGtProb, "gt_prob"},
                                                {GradCamTarget::kAltLogits, "alt_logits"},
                                                {GradCamTarget::kAltProbs, "alt_probs"},
                                                {GradCamTarget::kSmallLogits, "small_logits"}};
constexpr EnumName<MapActivation> kActivations[] = {
    {MapActivation::kRelu, "relu"}, {MapActivation::kAbs, "abs"}, {MapActivation::kNone, "none"}};

// Mean of the smaller half of the logits, [M, B]. The sort is stable: of equal logits the one with
// the lower class number counts as smaller.
at::Tensor mean_of_small(const at::Tensor& logits, const at::Tensor& noise) {
  // The noise decides only which logits are averaged; the mean is that of the logits themselves.
  const auto noisy = logits.detach() + noise * kLogitNoise;
  const auto order = std::get<1>(noisy.sort(true, -1, false));
  return logits.gather(-1, order.narrow(-1, 0, logits.size(-1) / 2)).mean(-1);
}

// The outputs o that are differentiated, [M, B], with graph.
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

  // small_logits reads noise instead of labels.
  if (options.target == GradCamTarget::kSmallLogits) {
    const bool fits = noise.defined() && noise.sizes() == logits.sizes() &&
                      noise.scalar_type() == logits.scalar_type() &&
                      noise.device() == logits.device();
    DISSENT_CHECK(fits, kUsage, "gradcam: noise: expected {} for target small_logits, found {}",
                  describe(logits), describe(noise));
  } else {
    check_labels("gradcam", "labels", labels, logits.size(1), logits.size(2), logits.device());
  }

  // Channels may differ between members; the maps that are compared have to be of one size.
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
  // Subtracting the first pixel first makes a constant map, and so its deviation, exactly 0.
  const auto shifted = maps - maps.detach().narrow(-1, 0, 1).narrow(-2, 0, 1);

  const auto centred = shifted - shifted.mean(at::IntArrayRef{-2, -1}, true);
  return centred / (root(centred.square().mean(at::IntArrayRef{-2, -1}, true)) + kStdEps);
}

}  // namespace

at::Tensor activation_maps(const at::Tensor& logits, const at::Tensor& labels,
                           const MemberInputs& feature_maps, const GradCamOptions& options,
                           const at::Tensor& noise, bool create_graph, double scale) {
  check_arguments(logits, labels, feature_maps, options, noise);

  // A sample's output depends on its own maps only, so the gradient of the sum over the batch holds
  // every sample's gradient.
  at::AutoGradMode with_graph(true);
  const auto outputs = target_outputs(logits, labels, options.target, noise).sum(1);
  const auto gradients = member_gradients(kMaps, outputs, feature_maps, create_graph, scale);

  // sum_k a_k f_k, where the weight a_k of a channel is the spatial mean of its gradient.
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

  // At least one pixel has to remain on both axes.
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

  // Each member has a random stream of its own number in the ensemble: the same on every split.
  const at::NoGradGuard no_grad;
  auto noise = at::empty(like.sizes(), at::kDouble);
  for (int64_t m = 0; m < like.size(0); ++m)
    fill_uniform(noise[m], 0, 1,
                 Random(seed, Purpose::kNoise,
                        kLogitStream + static_cast<uint64_t>(first_member + m), step));

  // To standard normal numbers by the inverse error function, of the centres of 2^32 intervals of
  // (-1, 1): the ends of the interval, which are infinite, never occur.
  noise.mul_(2).add_(0x1p-32 - 1).erfinv_().mul_(std::sqrt(2.0));
  return noise.to(like.device(), like.scalar_type());
}

GradCamTarget grad_cam_target(const std::string& name) {
  return checked_value_in(kTargets, "target of gradcam", name);
}
std::string to_string(GradCamTarget target) { return name_in(kTargets, target); }
const std::vector<std::string>& grad_cam_target_names() {
  static const auto names = name_list(kTargets);
  return names;
}
MapActivation map_activation(const std::string& name) {
  return checked_value_in(kActivations, "activation of maps", name);
}
std::string to_string(MapActivation activation) { return name_in(kActivations, activation); }
const std::vector<std::string>& map_activation_names() {
  static const auto names = name_list(kActivations);
  return names;
}

namespace {

void adjust_gradcam(const GradCamOptions& options, LossTraits& traits) {
  if (options.target == GradCamTarget::kSmallLogits)
    std::replace(traits.needs.begin(), traits.needs.end(), Field::kLabels, Field::kLogitNoise);
  if (options.similarity == Similarity::kLogDet) traits.min_members = 1;
  traits.nonlinear_in_batch = options.similarity == Similarity::kExpCosine;
}

}  // namespace

LossInfo gradcam_info() {
  const auto keys =
      OptionTable<GradCamOptions>("loss.gradcam", "Saliency maps")
          .choice("target", &GradCamOptions::target, kTargets,
                  {.meaning = "output o whose derivative weights the channels"})
          .choice("activation", &GradCamOptions::activation, kActivations,
                  {.meaning = "function act that is applied to the map"})
          .option("crop", &GradCamOptions::crop,
                  {.meaning = "pixels removed from each side of the map", .min = 0})
          .choice("similarity", &GradCamOptions::similarity,
                  names_of(similarity_names(), similarity_kind), "similarity measure of the maps");

  auto info = loss_info<GradCamOptions>(
      {.name = "gradcam",
       .summary = "Similarity of the members' saliency maps (SDDE)",
       .formula = "similarity of the standardised maps act(sum_k a_k f_k),  a_k = spatial mean "
                  "of d o / d f_k",
       .citation = "Dereka et al., Diversifying Deep Ensembles: A Saliency Map Approach, arXiv "
                   "2305.11616",
       .kind = LossKind::kDiversity,
       .traits = {.needs = {Field::kLogits, Field::kLabels, Field::kFeatureMaps},
                  .exchanged = {Field::kSaliencyMaps},
                  .min_members = 2},
       .traits_note = "target = small_logits: needs logit noise instead of labels; similarity = "
                      "expcosine: not a mean over samples; similarity = logdet: one member is "
                      "enough"},
      keys,
      [](const LossInput& input, const GradCamOptions& options) {
        return gradcam(input.logits, input.labels, *input.feature_maps, options, input.logit_noise);
      },
      adjust_gradcam);

  // Ranks exchange the maps of their members, not the feature maps.
  info.member_maps = [](const LossInput& input, const std::any& options, bool create_graph) {
    return saliency_maps(input.logits, input.labels, *input.feature_maps,
                         options_as<GradCamOptions>(options), input.logit_noise, create_graph);
  };
  info.compare_maps = [](const at::Tensor& maps, const std::any& options) {
    return saliency_similarity(maps, options_as<GradCamOptions>(options).similarity);
  };
  return info;
}

}  // namespace dissent::losses
