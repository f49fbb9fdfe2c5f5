#include <any>

#include <dissent/losses/input_gradient.hpp>
#include <dissent/losses/similarity.hpp>

#include "core/enum_names.hpp"
#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"
#include "losses/member_gradients.hpp"

namespace dissent::losses {
namespace {

constexpr Argument kImages = {"input_gradient", "images"};

constexpr EnumName<InputGradientMode> kModes[] = {{InputGradientMode::kMax, "max"},
                                                  {InputGradientMode::kMin, "min"},
                                                  {InputGradientMode::kGt, "gt"},
                                                  {InputGradientMode::kSum, "sum"}};

// The outputs o that are differentiated, [M, B], with graph.
at::Tensor mode_outputs(const at::Tensor& logits, const at::Tensor& labels,
                        InputGradientMode mode) {
  switch (mode) {
    case InputGradientMode::kMax: return std::get<0>(logits.max(-1));
    case InputGradientMode::kMin: return std::get<0>(logits.min(-1));
    case InputGradientMode::kGt: return at_label(logits, labels);
    case InputGradientMode::kSum: return logits.sum(-1);
  }
  DISSENT_FAIL(kInternal, "input_gradient: mode {}", static_cast<int>(mode));
}

}  // namespace

at::Tensor input_gradients(const at::Tensor& logits, const at::Tensor& labels,
                           const MemberInputs& images, const InputGradientOptions& options,
                           bool create_graph, double scale) {
  check_outputs("input_gradient", "logits", logits, 1);
  if (options.mode == InputGradientMode::kGt)
    check_labels("input_gradient", "labels", labels, logits.size(1), logits.size(2),
                 logits.device());

  check_inputs(kImages, logits, images, 0);

  // A sample's output depends on its own image only, so the gradient of the sum over the batch
  // holds every sample's gradient.
  at::AutoGradMode with_graph(true);
  const auto outputs = mode_outputs(logits, labels, options.mode).sum(1);
  const auto gradients = member_gradients(kImages, outputs, images, create_graph, scale);

  // Flattened to one vector per member and sample, which is what similarity() compares.
  at::AutoGradMode mode(create_graph);
  std::vector<at::Tensor> rows;
  for (const auto& gradient : gradients) {
    DISSENT_CHECK(gradient.numel() == gradients[0].numel(), kUsage,
                  "input_gradient: images: expected as many elements as in member 0, {}, found {}",
                  gradients[0].numel(), gradient.numel());
    rows.push_back(gradient.flatten(1));
  }
  return at::stack(rows);
}

at::Tensor input_gradient(const at::Tensor& logits, const at::Tensor& labels,
                          const MemberInputs& images, const InputGradientOptions& options,
                          bool create_graph) {
  check_outputs("input_gradient", "logits", logits, 2);

  const auto gradients = input_gradients(logits, labels, images, options, create_graph);
  at::AutoGradMode mode(create_graph);
  return similarity(gradients, Similarity::kCosine);
}

LossInfo input_gradient_info() {
  const auto keys = OptionTable<InputGradientOptions>("loss.input_gradient", "Input gradients")
                        .choice("mode", &InputGradientOptions::mode, kModes,
                                {.meaning = "output o that is differentiated"});

  auto info = loss_info<InputGradientOptions>(
      {.name = "input_gradient",
       .summary = "Similarity of the members' input gradients",
       .formula = "mean over b, i != j of cos(d o_i / d x, d o_j / d x)",
       .citation =
           "Dereka et al., arXiv 2305.11616 (as a baseline); Kariyappa and Qureshi, Improving "
           "Adversarial Robustness of Ensembles with Diversity Training, 2019",
       .kind = LossKind::kDiversity,
       .traits = {.needs = {Field::kLogits, Field::kLabels, Field::kImages},
                  .exchanged = {Field::kInputGradients},
                  .min_members = 2},
       .traits_note = "mode = max, min or sum: needs no labels"},
      keys,
      [](const LossInput& input, const InputGradientOptions& options) {
        return input_gradient(input.logits, input.labels, *input.images, options);
      },
      [](const InputGradientOptions& options, LossTraits& traits) {
        if (options.mode != InputGradientMode::kGt) std::erase(traits.needs, Field::kLabels);
      });

  // Ranks exchange the gradients of their members, not the images.
  info.member_maps = [](const LossInput& input, const std::any& options, bool create_graph) {
    return input_gradients(input.logits, input.labels, *input.images,
                           options_as<InputGradientOptions>(options), create_graph);
  };
  info.compare_maps = [](const at::Tensor& gradients, const std::any&) {
    return similarity(gradients, Similarity::kCosine);
  };
  return info;
}

InputGradientMode input_gradient_mode(const std::string& name) {
  return checked_value_in(kModes, "mode of input_gradient", name);
}
std::string to_string(InputGradientMode mode) { return name_in(kModes, mode); }
const std::vector<std::string>& input_gradient_mode_names() {
  static const auto names = name_list(kModes);
  return names;
}

}  // namespace dissent::losses
