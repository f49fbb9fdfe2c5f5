#include "ensemble/objective.hpp"

#include <dissent/losses/cross_entropy.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

using losses::Field;
using losses::LossKind;
using losses::LossTerm;
using RepulsionOn = ObjectiveOptions::RepulsionOn;

// Whether the schedule computes the term in this step. A term of weight 0 is still computed and
// reported, so the schedule is evaluated as if the weight were 1. At the start of a ramp, where the
// factor is 0, the term is off, so that a threshold does not split the batch yet; on images it is
// on and reported there (train/images/image_objective.cpp), since nothing else depends on it.
bool is_on(const LossTerm& term, int64_t epoch, int64_t step) {
  auto unit = term.weight;
  unit.weight = 1;
  return losses::weight_at(unit, epoch, step) > 0;
}

void check_unlabelled(const at::Tensor& unlabelled, const at::Tensor& logits) {
  check_outputs("objective", "unlabelled", unlabelled, 1);
  const bool fits = unlabelled.size(0) == logits.size(0) && unlabelled.size(2) == logits.size(2) &&
                    unlabelled.scalar_type() == logits.scalar_type() &&
                    unlabelled.device() == logits.device();
  DISSENT_CHECK(fits, kUsage, "objective: unlabelled: expected [{}, B, {}] {} {}, found {}",
                logits.size(0), logits.size(2), c10::toString(logits.scalar_type()),
                logits.device().str(), describe(unlabelled));
}

// Logits and labels of the batches of a step. Undefined or without rows if there are no samples.
struct Batches {
  at::Tensor trained, trained_labels;    // of the base losses
  at::Tensor repelled, repelled_labels;  // of the diversity losses
  at::Tensor unlabelled;                 // of regularisers such as oe
};

Batches batches_of_step(const at::Tensor& logits, const at::Tensor& labels,
                        const std::optional<at::Tensor>& unlabelled, bool others_on,
                        const ObjectiveOptions& options) {
  Batches batches{logits, labels, logits, labels, unlabelled.value_or(at::Tensor())};
  if (options.repulsion_on == RepulsionOn::kUnlabelled) {
    batches.repelled = batches.unlabelled;
    batches.repelled_labels = at::Tensor();
  }
  if (!others_on || !options.below_threshold) return batches;

  // With a threshold each sample belongs to one of the two: samples that every member predicts well
  // are trained, the others repel.
  const auto above = losses::above_threshold(logits, labels, *options.below_threshold);
  const auto rows = above.nonzero().squeeze(1), rest = above.logical_not().nonzero().squeeze(1);
  batches.trained = logits.index_select(1, rows);
  batches.trained_labels = labels.index_select(0, rows);
  batches.repelled = logits.index_select(1, rest);
  batches.repelled_labels = labels.index_select(0, rest);
  return batches;
}

bool has_samples(const at::Tensor& outputs) { return outputs.defined() && outputs.size(1) > 0; }

// The input of a term; nothing if one of its batches has no samples.
std::optional<losses::LossInput> input_of(const LossTerm& term, const Batches& batches,
                                          int64_t drawn_position) {
  losses::LossInput input;
  input.drawn_member = drawn_position;

  const auto traits = traits_of(term);
  if (is_base(term)) {
    input.logits = batches.trained;
    input.labels = batches.trained_labels;
  } else if (traits.reads(Field::kUnlabelledLogits)) {
    // A loss that compares two batches reads the trained one and the repelling one. All others read
    // the unlabelled set, even if repulsion takes place on the labelled one.
    input.logits = batches.trained;
    input.unlabelled_logits =
        traits.needs_labelled_and_unlabelled_batch ? batches.repelled : batches.unlabelled;
    if (!has_samples(input.unlabelled_logits)) return {};
  } else {
    input.logits = batches.repelled;
    input.labels = batches.repelled_labels;
  }

  // A mean over no samples would be NaN: the term is 0 in this step.
  if (traits.reads(Field::kLogits) && !has_samples(input.logits)) return {};
  return input;
}

}  // namespace

std::optional<std::string> impossible_on_features(const losses::LossInfo& loss) {
  for (const auto field : loss.traits.needs)
    if (field != Field::kLogits && field != Field::kLabels && field != Field::kDrawnMember &&
        field != Field::kUnlabelledLogits)
      return fmt::format("needs {}, which training on cached features does not have",
                         losses::field_name(field));
  return {};
}

bool reads_unlabelled(const LossTerm& term, const ObjectiveOptions& options) {
  if (is_base(term)) return false;
  if (options.repulsion_on == RepulsionOn::kUnlabelled) return true;
  const auto traits = traits_of(term);
  return traits.reads(Field::kUnlabelledLogits) && !traits.needs_labelled_and_unlabelled_batch;
}

uint64_t terms_on(const ObjectiveOptions& options, int64_t epoch, int64_t step) {
  uint64_t on = 0;
  for (size_t i = 0; i < options.terms.size(); ++i)
    if (is_on(options.terms[i], epoch, step)) on |= uint64_t{1} << i;
  return on;
}

bool uses_drawn_member(const ObjectiveOptions& options) {
  return std::any_of(options.terms.begin(), options.terms.end(),
                     [](const auto& term) { return traits_of(term).reads(Field::kDrawnMember); });
}

void check(const ObjectiveOptions& options) {
  DISSENT_CHECK(!options.terms.empty(), kUsage,
                "objective: terms: expected at least one loss, found none");
  DISSENT_CHECK(options.terms.size() <= 64, kUsage,
                "objective: terms: expected at most 64 losses, found {}", options.terms.size());
  if (options.below_threshold)
    check_range("objective", "below_threshold", *options.below_threshold, 0, 1);

  // Each term by itself, and together with where the repulsion takes place.
  const bool unlabelled = options.repulsion_on == RepulsionOn::kUnlabelled;
  std::vector<std::string> names;
  bool others = false;
  for (const auto& term : options.terms) {
    // An objective is also built by callers of the library: what a configuration checks with its
    // own messages is checked here again.
    const auto& loss = losses::find_loss(term.name);
    DISSENT_CHECK(std::find(names.begin(), names.end(), term.name) == names.end(), kUsage,
                  "objective: {}: expected each loss once, found twice", term.name);
    names.push_back(term.name);

    const auto reason = impossible_on_features(loss);
    DISSENT_CHECK(!reason, kUsage, "objective: {}: {}", term.name, reason.value_or(""));
    DISSENT_CHECK(std::isfinite(term.weight.weight) && term.weight.weight >= 0, kUsage,
                  "objective: {}: weight: expected a number >= 0, found {}", term.name,
                  term.weight.weight);

    if (loss.kind == LossKind::kBase) continue;

    others = true;
    const auto traits = traits_of(term);
    const bool labels = loss.kind == LossKind::kDiversity && traits.reads(Field::kLabels);
    DISSENT_CHECK(
        !labels || !unlabelled, kUsage,
        "objective: {}: expected disagreement.on = \"labelled\", because the loss needs labels; "
        "found \"unlabelled\"",
        term.name);
    DISSENT_CHECK(!traits.weights_hard_samples || !options.below_threshold, kUsage,
                  "objective: {}: expected sample_weight \"hard\" or below_threshold, found both",
                  term.name);
  }

  // The threshold selects samples of the labelled batch, and takes them from the base losses.
  DISSENT_CHECK(
      !options.below_threshold || !unlabelled, kUsage,
      "objective: below_threshold: expected disagreement.on = \"labelled\", because the threshold "
      "splits the labelled batch; found \"unlabelled\"");
  DISSENT_CHECK(
      !options.below_threshold || others, kUsage,
      "objective: below_threshold: expected a diversity loss or a regulariser, for the samples "
      "below the threshold; found none");
}

ObjectiveValue objective(const at::Tensor& logits, const at::Tensor& labels,
                         const std::optional<at::Tensor>& unlabelled, int64_t drawn_position,
                         int64_t epoch, int64_t step, const ObjectiveOptions& options) {
  check(options);
  check_outputs("objective", "logits", logits, 1);
  check_labels("objective", "labels", labels, logits.size(1), logits.size(2), logits.device());
  if (unlabelled) check_unlabelled(*unlabelled, logits);

  // Bit i of `on`: term i is computed in this step. Without any loss other than the base losses,
  // the batch is not split by the threshold.
  const auto on = terms_on(options, epoch, step);
  bool others_on = false;
  for (size_t i = 0; i < options.terms.size(); ++i)
    others_on = others_on || ((on >> i & 1) != 0 && !is_base(options.terms[i]));

  const auto batches = batches_of_step(logits, labels, unlabelled, others_on, options);

  const auto zero = at::zeros({}, logits.options());
  ObjectiveValue value{zero, zero, zero, {}};
  for (size_t i = 0; i < options.terms.size(); ++i) {
    const auto& term = options.terms[i];
    const auto input = (on >> i & 1) != 0 ? input_of(term, batches, drawn_position) : std::nullopt;
    if (!input) {
      value.terms.push_back(zero);
      continue;
    }

    // A term of weight 0 is reported only, so it needs no graph.
    const double weight = losses::weight_at(term.weight, epoch, step);
    const at::AutoGradMode graph(at::GradMode::is_enabled() && weight > 0);

    const auto loss = losses::evaluate(term.name, *input, term.options);
    value.terms.push_back(loss.detach());

    if (weight == 0) continue;
    auto& part = is_base(term) ? value.base : value.diversity;
    part = part + weight * loss;
    value.total = value.total + weight * loss;
  }
  return value;
}

}  // namespace dissent
