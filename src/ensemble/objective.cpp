#include "ensemble/objective.hpp"

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/hard_sample_weight.hpp>
#include <dissent/losses/kl_backward.hpp>
#include <dissent/tensor_check.hpp>

#include <cmath>

namespace dissent {
namespace {

using Repulsion = ObjectiveOptions::Repulsion;
using SampleWeight = ObjectiveOptions::SampleWeight;
using RepulsionOn = ObjectiveOptions::RepulsionOn;

void check_weight(const char* name, double weight) {
  DISSENT_CHECK(std::isfinite(weight) && weight >= 0, kUsage, "objective: {}: wanted a number >= 0, given {}", name, weight);
}

// The outputs that repel, or nothing: an undefined tensor.
at::Tensor repelling(const at::Tensor& logits, const std::optional<at::Tensor>& unlabelled, const ObjectiveOptions& options) {
  if (options.repulsion_on == RepulsionOn::kLabelled) return logits;
  if (!unlabelled) return {};
  check_outputs("objective", "unlabelled", *unlabelled, 1);
  const bool fits = unlabelled->size(0) == logits.size(0) && unlabelled->size(2) == logits.size(2) &&
                    unlabelled->scalar_type() == logits.scalar_type() && unlabelled->device() == logits.device();
  DISSENT_CHECK(fits, kUsage, "objective: unlabelled: wanted [{}, B, {}] {} {}, given {}", logits.size(0), logits.size(2),
                c10::toString(logits.scalar_type()), logits.device().str(), describe(*unlabelled));
  return *unlabelled;
}

// Mean over samples of the weighted repulsion.
at::Tensor repulsion_of(const at::Tensor& outputs, const at::Tensor& labels, int64_t m, const ObjectiveOptions& options) {
  if (options.repulsion == Repulsion::kDivDis) return losses::divdis(outputs, options.divdis_mode, options.divdis_reduction);
  const auto per_sample = losses::a2d(outputs, m);
  if (options.sample_weight == SampleWeight::kNone) return per_sample.mean();
  return (per_sample * losses::hard_sample_weight(outputs, labels)).mean();
}

// The term without a graph where nothing is to be learned from it.
template <class Term>
at::Tensor with_gradient(bool needed, Term term) {
  if (needed) return term();
  const at::NoGradGuard no_grad;
  return term();
}

}  // namespace

void check(const ObjectiveOptions& options) {
  check_weight("cross_entropy_weight", options.cross_entropy_weight);
  check_weight("repulsion_weight", options.repulsion_weight);
  if (options.regulariser_weight) check_weight("regulariser_weight", *options.regulariser_weight);
  check_range("objective", "label_smoothing", options.label_smoothing, 0, 1);
  if (options.below_threshold) check_range("objective", "below_threshold", *options.below_threshold, 0, 1);
  DISSENT_CHECK(options.from_epoch >= 0, kUsage, "objective: from_epoch: wanted 0 or more, given {}", options.from_epoch);

  const bool unlabelled = options.repulsion_on == RepulsionOn::kUnlabelled;
  const bool hard = options.sample_weight == SampleWeight::kHard;
  DISSENT_CHECK(!hard || options.repulsion != Repulsion::kDivDis, kUsage,
                "objective: sample_weight \"hard\" weighs samples; divdis has one value a batch");
  DISSENT_CHECK(!hard || !options.below_threshold, kUsage, "objective: sample_weight \"hard\" and below_threshold cannot be given together");
  DISSENT_CHECK(!hard || !unlabelled, kUsage, "objective: sample_weight \"hard\" needs labels, so repulsion_on has to be \"labelled\"");
  DISSENT_CHECK(!options.below_threshold || !unlabelled, kUsage,
                "objective: below_threshold splits the labelled batch, so repulsion_on has to be \"labelled\"");
  DISSENT_CHECK(!options.below_threshold || options.repulsion != Repulsion::kNone || options.regulariser_weight, kUsage,
                "objective: below_threshold needs a repulsion or a regulariser for the samples that it takes from the cross-entropy");
}

ObjectiveValue objective(const at::Tensor& logits, const at::Tensor& labels, const std::optional<at::Tensor>& unlabelled, int64_t m, int64_t epoch,
                         const ObjectiveOptions& options) {
  check(options);
  check_outputs("objective", "logits", logits, 1);
  check_labels("objective", "labels", labels, logits.size(1), logits.size(2), logits.device());

  auto trained = logits, trained_labels = labels, repelled = at::Tensor();
  if (epoch >= options.from_epoch) {
    repelled = repelling(logits, unlabelled, options);
    if (options.below_threshold) {
      const auto above = losses::above_threshold(logits, labels, *options.below_threshold);
      const auto rows = above.nonzero().squeeze(1);
      repelled = logits.index_select(1, above.logical_not().nonzero().squeeze(1));
      trained = logits.index_select(1, rows);
      trained_labels = labels.index_select(0, rows);
    }
  }
  const bool trains = trained.size(1) > 0, repels = repelled.defined() && repelled.size(1) > 0;

  const auto zero = at::zeros({}, logits.options());
  ObjectiveValue value{zero, zero, zero, zero};
  if (trains) {
    const auto output = options.product_of_experts ? at::log_softmax(trained, 2).sum(0, true) : trained;
    const auto term = with_gradient(options.cross_entropy_weight > 0,
                                    [&] { return losses::cross_entropy(output, trained_labels, options.label_smoothing).mean(); });
    value.cross_entropy = term.detach();
    if (options.cross_entropy_weight > 0) value.total = options.cross_entropy_weight * term;
  }
  if (repels && options.repulsion != Repulsion::kNone) {
    const auto term = with_gradient(options.repulsion_weight > 0, [&] { return repulsion_of(repelled, labels, m, options); });
    value.repulsion = term.detach();
    value.total = value.total + options.repulsion_weight * term;
  }
  if (repels && trains && options.regulariser_weight) {
    const auto source = losses::mean_prediction(trained);
    const auto term = with_gradient(*options.regulariser_weight > 0, [&] { return losses::kl_backward(repelled, source); });
    value.regulariser = term.detach();
    value.total = value.total + *options.regulariser_weight * term;
  }
  return value;
}

}  // namespace dissent
