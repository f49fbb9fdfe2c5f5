#include "losses/registry.hpp"

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/adp.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/dice_discriminator.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/hard_sample_weight.hpp>
#include <dissent/losses/input_gradient.hpp>
#include <dissent/losses/kl_backward.hpp>
#include <dissent/losses/logit_norm.hpp>
#include <dissent/losses/ncl.hpp>
#include <dissent/losses/oe.hpp>

#include "core/option_table.hpp"
#include "core/tensor_check.hpp"

namespace dissent::losses {
namespace {

// A row: its text, its keys, what computes it and, where options change the traits, how.
template <class O>
LossInfo row(LossInfo text, OptionTable<O> options,
             at::Tensor (*function)(const LossInput&, const O&),
             void (*adjust)(const O&, LossTraits&) = nullptr) {
  text.options = std::move(options);
  text.default_options = O{};
  text.struct_of = [](std::any& given) -> void* { return std::any_cast<O>(&given); };
  text.function = [function](const LossInput& input, const std::any& given) {
    return function(input, *std::any_cast<O>(&given));
  };
  if (adjust)
    text.adjust = [adjust](const std::any& given, LossTraits& traits) {
      adjust(*std::any_cast<O>(&given), traits);
    };
  return text;
}

// Mean of a loss [M, B] over members and samples, where members may have batches of their own. Over
// samples first: the mean of M numbers that each come of one member alone has the same bits
// wherever the members are (ensemble/split_loss.hpp).
template <class Loss>
at::Tensor mean_of(const char* name, const at::Tensor& logits, const at::Tensor& labels,
                   Loss loss) {
  if (labels.dim() != 2) return loss(logits, labels).mean(1).mean();
  check_outputs(name, "logits", logits, 1);
  DISSENT_CHECK(labels.size(0) == logits.size(0), kUsage,
                "{}: labels: expected [B] or [{}, B] Long, found {}", name, logits.size(0),
                describe(labels));
  std::vector<at::Tensor> values;
  for (int64_t m = 0; m < logits.size(0); ++m)
    values.push_back(loss(logits.narrow(0, m, 1), labels[m]).mean());
  return at::stack(values).mean();
}

at::Tensor run_cross_entropy(const LossInput& in, const CrossEntropyOptions& o) {
  const auto output = o.output == CrossEntropyOutput::kProductOfExperts
                          ? at::log_softmax(in.logits, -1).sum(0, true)
                          : in.logits;
  return mean_of("cross_entropy", output, in.labels, [&](const auto& z, const auto& y) {
    return cross_entropy(z, y, o.label_smoothing);
  });
}

at::Tensor run_logit_norm(const LossInput& in, const LogitNormOptions& o) {
  return mean_of("logit_norm", in.logits, in.labels,
                 [&](const auto& z, const auto& y) { return logit_norm(z, y, o); });
}

at::Tensor run_adversarial(const LossInput& in, const AdversarialOptions&) {
  return mean_of("adversarial_cross_entropy", in.adversarial_logits, in.labels,
                 [](const auto& z, const auto& y) { return cross_entropy(z, y); });
}

at::Tensor run_a2d(const LossInput& in, const A2dOptions& o) {
  const auto value = a2d(in.logits, in.drawn_member);
  return o.sample_weight == SampleWeight::kHard
             ? (value * hard_sample_weight(in.logits, in.labels)).mean()
             : value.mean();
}

at::Tensor run_dice(const LossInput& in, const DiceOptions& o) {
  std::vector<at::Tensor> constants;
  for (const auto& parameter : in.discriminator) constants.push_back(parameter.detach());
  return dice(dice_pair_logits(constants, in.features, in.labels, o), o);
}

at::Tensor run_gradcam(const LossInput& in, const GradCamOptions& o) {
  return gradcam(in.logits, in.labels, *in.feature_maps, o, in.logit_noise);
}

void adjust_gradcam(const GradCamOptions& o, LossTraits& traits) {
  if (o.target == GradCamTarget::kSmallLogits)
    std::replace(traits.needs.begin(), traits.needs.end(), Field::kLabels, Field::kLogitNoise);
  if (o.similarity == Similarity::kLogDet) traits.min_members = 1;
  traits.nonlinear_in_batch = o.similarity == Similarity::kExpCosine;
}

std::vector<LossInfo> base_losses() {
  return {
      row<CrossEntropyOptions>(
          {.name = "cross_entropy",
           .summary = "Cross-entropy of each member, against smoothed labels if wanted",
           .formula = "mean over m, b of -sum_c t_bc log softmax(z_mb)_c,  t = (1 - eps) onehot(y) "
                      "+ eps / C",
           .citation = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, "
                       "CVPR 2016 (smoothing)",
           .kind = LossKind::kBase,
           .traits = {.needs = {Field::kLogits, Field::kLabels}},
           .traits_note =
               "output = product_of_experts: ranks exchange logits, and members share a batch"},
          OptionTable<CrossEntropyOptions>("loss.cross_entropy", "Cross-entropy")
              .option("label_smoothing", &CrossEntropyOptions::label_smoothing,
                      {.meaning = "eps", .min = 0, .max = 1})
              .choice("output", &CrossEntropyOptions::output,
                      {{"members", CrossEntropyOutput::kMembers},
                       {"product_of_experts", CrossEntropyOutput::kProductOfExperts}},
                      "of each member, or of the product of experts (sum of the members' "
                      "log-probabilities)"),
          run_cross_entropy,
          [](const CrossEntropyOptions& o, LossTraits& traits) {
            if (o.output == CrossEntropyOutput::kProductOfExperts)
              traits.exchanged = {Field::kLogits};
          }),
      row<LogitNormOptions>(
          {.name = "logit_norm",
           .summary = "Cross-entropy of logits of length 1 / tau",
           .formula = "mean over m, b of -log softmax(z_mb / (|z_mb| + 1e-7) / tau)_y",
           .citation = "Wei et al., Mitigating Neural Network Overconfidence with Logit "
                       "Normalization, ICML 2022",
           .kind = LossKind::kBase,
           .traits = {.needs = {Field::kLogits, Field::kLabels}}},
          OptionTable<LogitNormOptions>("loss.logit_norm", "LogitNorm")
              .option("tau", &LogitNormOptions::tau,
                      {.meaning = "temperature, > 0 (SDDE: 0.04)", .min = 1e-6}),
          run_logit_norm),
      row<AdversarialOptions>(
          {.name = "adversarial_cross_entropy",
           .summary =
               "Plain cross-entropy on inputs moved by one signed gradient step of the base loss",
           .formula =
               "mean over m, b of -log softmax(z'_mb)_y,  z' at x + epsilon sign(d base loss / dx)",
           .citation = "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty "
                       "Estimation using Deep Ensembles, NeurIPS 2017",
           .kind = LossKind::kBase,
           .traits = {.needs = {Field::kAdversarialLogits, Field::kLabels}}},
          OptionTable<AdversarialOptions>("loss.adversarial_cross_entropy", "Adversarial training")
              .option("epsilon", &AdversarialOptions::epsilon,
                      {.meaning = "length of the step, in the unit of the normalised inputs",
                       .min = 0}),
          run_adversarial),
  };
}

std::vector<LossInfo> output_losses() {
  return {
      row<A2dOptions>(
          {.name = "a2d",
           .summary =
               "Repulsion of one drawn member from all others in the classes that they predict",
           .formula = "mean over b, i != m of -log(p_i (1 - p_m) + p_m (1 - p_i) + 1e-9), both at "
                      "the class argmax p_i",
           .citation = "Pagliardini et al., Agree to Disagree, ICLR 2023; hard samples: Rubinstein "
                       "et al., Scalable Ensemble Diversification, arXiv 2409.16797",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kLogits, Field::kDrawnMember},
                      .exchanged = {Field::kLogits},
                      .min_members = 2},
           .traits_note = "sample_weight = hard: needs labels too, and is not a mean over samples"},
          OptionTable<A2dOptions>("loss.a2d", "A2D")
              .choice("sample_weight", &A2dOptions::sample_weight,
                      {{"none", SampleWeight::kNone}, {"hard", SampleWeight::kHard}},
                      "hard: times h_b / (mean h)^2, h the cross-entropy of the mean logits, "
                      "without gradient"),
          run_a2d,
          [](const A2dOptions& o, LossTraits& traits) {
            traits.nonlinear_in_batch = o.sample_weight == SampleWeight::kHard;
            if (traits.nonlinear_in_batch) traits.needs.push_back(Field::kLabels);
          }),
      row<DivDisOptions>(
          {.name = "divdis",
           .summary = "Dependence of the predictions of two members over the batch",
           .formula = "mean over pairs, or over members of their most alike pair, of the mutual "
                      "information over the batch (mi) or of minus the mean |p_g - p_h|_1 (l1)",
           .citation = "Lee, Yao and Finn, Diversify and Disambiguate, ICLR 2023",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kLogits},
                      .exchanged = {Field::kLogits},
                      .min_members = 2,
                      .nonlinear_in_batch = true}},
          OptionTable<DivDisOptions>("loss.divdis", "DivDis")
              .choice("mode", &DivDisOptions::mode,
                      {{"mi", DivDisMode::kMutualInformation}, {"l1", DivDisMode::kL1}},
                      "what is measured")
              .choice("reduction", &DivDisOptions::reduction,
                      {{"mean", DivDisReduction::kMean}, {"min_each", DivDisReduction::kMinEach}},
                      "mean over pairs, or mean over members of the most alike pair"),
          [](const LossInput& in, const DivDisOptions& o) {
            return divdis(in.logits, o.mode, o.reduction);
          }),
      row<NoOptions>(
          {.name = "ncl",
           .summary = "Negative correlation: deviations from the members' mean should cancel",
           .formula =
               "mean over b, i != j of <p_i - p, p_j - p>,  p the mean of the members, constant",
           .citation =
               "Liu and Yao, Ensemble learning via negative correlation, Neural Networks 1999",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kLogits}, .exchanged = {Field::kLogits}, .min_members = 2}},
          OptionTable<NoOptions>("loss.ncl", "NCL"),
          [](const LossInput& in, const NoOptions&) { return ncl(in.logits); }),
      row<AdpOptions>(
          {.name = "adp",
           .summary = "Open mean prediction, and wrong classes that differ between members",
           .formula = "mean over b of alpha sum_c q_c log(q_c + 1e-20) - beta log det(V V^T + 1e-5 "
                      "I),  V the members' normalised probabilities of wrong classes",
           .citation = "Pang et al., Improving Adversarial Robustness via Promoting Ensemble "
                       "Diversity, ICML 2019",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kLogits, Field::kLabels}, .exchanged = {Field::kLogits}}},
          OptionTable<AdpOptions>("loss.adp", "ADP")
              .option(
                  "alpha", &AdpOptions::alpha,
                  {.meaning = "weight of the negative entropy of the mean prediction", .min = 0})
              .option("beta", &AdpOptions::beta,
                      {.meaning = "weight of the negative log-determinant", .min = 0}),
          [](const LossInput& in, const AdpOptions& o) { return adp(in.logits, in.labels, o); }),
  };
}

std::vector<LossInfo> representation_losses() {
  return {
      row<GradCamOptions>(
          {.name = "gradcam",
           .summary = "Likeness of the members' saliency maps (SDDE)",
           .formula = "similarity of the standardised maps act(sum_k a_k f_k),  a_k = spatial mean "
                      "of d o / d f_k",
           .citation = "Dereka et al., Diversifying Deep Ensembles: A Saliency Map Approach, arXiv "
                       "2305.11616",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kLogits, Field::kLabels, Field::kFeatureMaps},
                      .exchanged = {Field::kSaliencyMaps},
                      .min_members = 2},
           .traits_note = "target = small_logits: needs logit noise, not labels; similarity = "
                          "expcosine: is not a mean over samples; logdet: one member is enough"},
          OptionTable<GradCamOptions>("loss.gradcam", "Saliency maps")
              .choice("target", &GradCamOptions::target,
                      names_of(grad_cam_target_names(), grad_cam_target),
                      "the output o whose derivative weighs the channels")
              .choice("activation", &GradCamOptions::activation,
                      names_of(map_activation_names(), map_activation), "act")
              .option("crop", &GradCamOptions::crop,
                      {.meaning = "pixels cut from each side of the map", .min = 0})
              .choice("similarity", &GradCamOptions::similarity,
                      names_of(similarity_names(), similarity_kind), "how alike maps are"),
          run_gradcam, adjust_gradcam),
      row<InputGradientOptions>(
          {.name = "input_gradient",
           .summary = "Likeness of the members' input gradients",
           .formula = "mean over b, i != j of cos(d o_i / d x, d o_j / d x)",
           .citation =
               "Dereka et al., arXiv 2305.11616 (as a baseline); Kariyappa and Qureshi, Improving "
               "Adversarial Robustness of Ensembles with Diversity Training, 2019",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kLogits, Field::kLabels, Field::kImages},
                      .exchanged = {Field::kInputGradients},
                      .min_members = 2},
           .traits_note = "mode = max, min, sum: needs no labels"},
          OptionTable<InputGradientOptions>("loss.input_gradient", "Input gradients")
              .choice("mode", &InputGradientOptions::mode,
                      names_of(input_gradient_mode_names(), input_gradient_mode), "the output o"),
          [](const LossInput& in, const InputGradientOptions& o) {
            return input_gradient(in.logits, in.labels, *in.images, o);
          },
          [](const InputGradientOptions& o, LossTraits& traits) {
            if (o.mode != InputGradientMode::kGt) std::erase(traits.needs, Field::kLabels);
          }),
      row<DiceOptions>(
          {.name = "dice",
           .summary = "Information that the features of two members share beyond the label, by a "
                      "discriminator trained beside them",
           .formula =
               "mean over b, i < j of tau tanh(r / tau),  r = -log(exp(-D(z_i, z_j, y)) + 1e-6)",
           .citation = "Rame and Cord, DICE: Diversity in Deep Ensembles via Conditional "
                       "Redundancy Adversarial Estimation, ICLR 2021",
           .kind = LossKind::kDiversity,
           .traits = {.needs = {Field::kFeatures, Field::kLabels, Field::kDiscriminator},
                      .exchanged = {Field::kFeatures},
                      .min_members = 2},
           .traits_note = "the discriminator's own loss pairs samples of a class: it is not a mean "
                          "over samples"},
          OptionTable<DiceOptions>("loss.dice", "DICE")
              .option("tau", &DiceOptions::tau,
                      {.meaning = "the log ratio is clipped to -tau .. tau, > 0", .min = 1e-6})
              .option("units", &DiceOptions::units,
                      {.meaning = "hidden layers of the discriminator", .min = 1})
              .option("label_dim", &DiceOptions::label_dim,
                      {.meaning = "width of its label embedding", .min = 1})
              .option("leaky_slope", &DiceOptions::leaky_slope,
                      {.meaning = "of its LeakyReLU", .min = 0, .max = 1}),
          run_dice),
  };
}

std::vector<LossInfo> unlabelled_losses() {
  return {
      row<NoOptions>(
          {.name = "oe",
           .summary = "Outlier exposure: open predictions on samples that are no class",
           .formula = "mean over m, b of log sum_c exp z_c - mean over c of z_c",
           .citation = "Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019",
           .kind = LossKind::kRegulariser,
           .traits = {.needs = {Field::kUnlabelledLogits}}},
          OptionTable<NoOptions>("loss.oe", "Outlier exposure"),
          [](const LossInput& in, const NoOptions&) { return oe(in.unlabelled_logits); }),
      row<NoOptions>(
          {.name = "kl_backward",
           .summary =
               "Keeps each member's mean prediction near the ensemble's on the labelled batch",
           .formula = "mean over m of KL(mean over b of p_mb on the unlabelled batch || mean "
                      "prediction on the labelled batch)",
           .citation = "Lee, Yao and Finn, Diversify and Disambiguate, ICLR 2023",
           .kind = LossKind::kRegulariser,
           .traits = {.needs = {Field::kLogits, Field::kUnlabelledLogits},
                      .exchanged = {Field::kLogits},
                      .nonlinear_in_batch = true}},
          OptionTable<NoOptions>("loss.kl_backward", "KL regulariser"),
          [](const LossInput& in, const NoOptions&) {
            return kl_backward(in.unlabelled_logits, mean_prediction(in.logits));
          }),
  };
}

}  // namespace

const std::vector<LossInfo>& loss_table() {
  static const std::vector<LossInfo> table = [] {
    std::vector<LossInfo> all;
    for (auto* group : {base_losses, output_losses, representation_losses, unlabelled_losses})
      for (auto& info : group()) all.push_back(std::move(info));
    return all;
  }();
  return table;
}

}  // namespace dissent::losses
