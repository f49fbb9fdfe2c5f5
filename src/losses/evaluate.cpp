// Operations on the table of losses: finding a loss, its options and traits, evaluating it.
#include <any>
#include <string>
#include <vector>

#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/option_page.hpp"
#include "losses/registry.hpp"

namespace dissent::losses {
namespace {

bool is_given(const LossInput& input, Field field) {
  switch (field) {
    case Field::kLogits: return input.logits.defined();
    case Field::kLabels: return input.labels.defined();
    case Field::kDrawnMember: return true;
    case Field::kFeatureMaps: return input.feature_maps.has_value();
    case Field::kLogitNoise: return input.logit_noise.defined();
    case Field::kImages: return input.images.has_value();
    case Field::kFeatures: return input.features.defined();
    case Field::kDiscriminator: return !input.discriminator.empty();
    case Field::kUnlabelledLogits: return input.unlabelled_logits.defined();
    case Field::kAdversarialLogits: return input.adversarial_logits.defined();
    case Field::kSaliencyMaps:
    case Field::kInputGradients: break;
  }
  DISSENT_FAIL(kInternal, "field '{}': expected an input of a loss", field_name(field));
}

const std::any& options_or_default(const LossInfo& loss, const std::any& options) {
  return options.has_value() ? options : loss.default_options;
}

void check_options(const LossInfo& loss, const std::any& options) {
  const bool same = options.type() == loss.default_options.type();
  DISSENT_CHECK(same, kUsage, "{}: options: expected those of this loss, found those of another",
                loss.name);
}

}  // namespace

std::string field_name(Field field) {
  switch (field) {
    case Field::kLogits: return "logits";
    case Field::kLabels: return "labels";
    case Field::kDrawnMember: return "drawn member";
    case Field::kFeatureMaps: return "feature maps";
    case Field::kLogitNoise: return "logit noise";
    case Field::kImages: return "images";
    case Field::kFeatures: return "features";
    case Field::kDiscriminator: return "discriminator";
    case Field::kUnlabelledLogits: return "unlabelled logits";
    case Field::kAdversarialLogits: return "adversarial logits";
    case Field::kSaliencyMaps: return "saliency maps";
    case Field::kInputGradients: return "input gradients";
  }
  DISSENT_FAIL(kInternal, "field {} has no name", static_cast<int>(field));
}

std::string kind_name(LossKind kind) {
  switch (kind) {
    case LossKind::kBase: return "base";
    case LossKind::kDiversity: return "diversity";
    case LossKind::kRegulariser: return "regulariser";
  }
  DISSENT_FAIL(kInternal, "kind {} has no name", static_cast<int>(kind));
}

const LossInfo& find_loss(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& loss : loss_table()) {
    if (loss.name == name) return loss;
    known.push_back(loss.name);
  }
  DISSENT_FAIL(kUsage, "loss: expected one of {}, found '{}'", fmt::join(known, ", "), name);
}

const TableSpec& weight_table() {
  using W = LossWeight;

  static const TableSpec table =
      TableOf<W>("loss.<name>", "Keys of every loss")
          .option("weight", &W::weight, {.meaning = "weight in the objective", .min = 0})
          .option(
              "from_epoch", &W::from_epoch,
              {.meaning =
                   "first epoch in which the loss is used, counted from 0 without a frozen epoch",
               .min = 0})
          .option(
              "to_epoch", &W::to_epoch,
              {.meaning = "epoch from which the loss is no longer used", .min = 0, .word = "end"})

          // How the weight changes between these epochs.
          .option("ramp_epochs", &W::ramp_epochs,
                  {.meaning = "number of epochs in which the weight grows from 0 to its value",
                   .min = 0})

          // SDDE computes its expensive losses in few steps: these keys have its rules
          // (weight.hpp).
          .option("period", &W::period,
                  {.meaning = "compute the loss only on every n-th step of an epoch", .min = 1})
          .option(
              "every_step_before", &W::every_step_before,
              {.meaning =
                   "before this epoch, the loss is computed in every step, regardless of period",
               .min = 0})
          .option(
              "every_step_from", &W::every_step_from,
              {.meaning = "from this epoch on, the loss is computed in every step, regardless of "
                          "period",
               .min = 0,
               .word = "never"});
  return table;
}

void set_option(const LossInfo& loss, std::any& options, const std::string& key,
                const Value& value) {
  if (!options.has_value()) options = loss.default_options;

  check_options(loss, options);
  dissent::set_option(loss.name, loss.options, loss.struct_of(options), key, value);
}

LossTraits traits_of(const LossInfo& loss, const std::any& options) {
  const auto& given = options_or_default(loss, options);
  check_options(loss, given);

  auto traits = loss.traits;
  if (loss.adjust) loss.adjust(given, traits);
  return traits;
}

void check_needs(const LossInfo& loss, const LossInput& input, const std::any& options) {
  for (const auto field : traits_of(loss, options).needs)
    DISSENT_CHECK(is_given(input, field), kUsage, "{}: {}: expected it, found nothing", loss.name,
                  field_name(field));
}

at::Tensor evaluate(const std::string& name, const LossInput& input, const std::any& options) {
  const auto& loss = find_loss(name);
  check_needs(loss, input, options);
  return loss.function(input, options_or_default(loss, options));
}

}  // namespace dissent::losses
