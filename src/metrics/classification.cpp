#include <cstdint>
#include <string>
#include <vector>

#include <fmt/ranges.h>

#include <dissent/metrics/calibration.hpp>
#include <dissent/metrics/classification.hpp>
#include <dissent/metrics/registry.hpp>

#include "metrics/host_values.hpp"

namespace dissent::metrics {

Classification::Classification(int64_t classes, bool classwise)
    : classes_(classes), has_classwise_(classwise), classwise_(classwise ? classes : 1) {
  DISSENT_CHECK(classes >= 1, kUsage, "classification: classes: expected 1 or more, found {}",
                classes);
}

void Classification::update(const at::Tensor& logits, const at::Tensor& labels) {
  DISSENT_CHECK(logits.defined() && logits.dim() == 2 && logits.size(0) >= 1 &&
                    logits.size(1) == classes_ &&
                    (logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kDouble),
                kUsage, "classification: logits: expected [N >= 1, {}] of f32 or f64, found {}",
                classes_, describe(logits));
  const auto z = logits.detach();
  check_labels("classification", "labels", labels, z.size(0), classes_, z.device());

  // One softmax for all metrics; every convention has its own bins.
  const auto values = calibration_values(z, labels);
  const auto right = z.argmax(-1).eq(labels);
  accuracy_.update(right);
  top5_.update(right_in_top_k(z, labels, 5));
  nll_.update(values.nll);

  // sdde and openood average the means of batches: a call counts as one batch, whatever its rows.
  batch_nll_.update(values.nll.to(at::kDouble).mean().unsqueeze(0));

  // The bin of a confidence of 1 differs by convention; OpenOOD bins the largest logit instead.
  brier_.update(values.brier);
  for (auto* state : {&closed_, &dropped_, &own_}) state->update(values.confidence, right);
  of_logits_.update(z.amax(-1), right);
  if (has_classwise_) classwise_.update(at::softmax(z, -1), labels);
}

void Classification::merge(const Classification& other) {
  DISSENT_CHECK(classes_ == other.classes_ && has_classwise_ == other.has_classwise_, kUsage,
                "classification: merge: expected the same classes");

  // All parts of the state are integers that add up.
  from_state(state() + other.state());
}

const Reliability& Classification::reliability(Convention convention) const {
  // The conventions differ in the bin of a confidence of 1, and OpenOOD bins the largest logit
  // (of_logits_).
  switch (convention) {
    case Convention::kSklearn: return closed_;
    case Convention::kSdde: return dropped_;
    case Convention::kOpenood: return of_logits_;
    case Convention::kTorchUncertainty: return own_;
    case Convention::kSed: break;
  }
  std::vector<std::string> known;
  for (const auto& entry : find_metric("ece").conventions)
    known.push_back(convention_name(entry.convention));
  DISSENT_FAIL(kUsage, "reliability: convention: expected one of {}, found {}",
               fmt::join(known, ", "), convention_name(convention));
}

double Classification::finish(const std::string& metric, Convention convention) const {
  const auto& info = find_metric(metric);
  check_convention(info, convention);
  DISSENT_CHECK(samples() > 0, kData, "{}: expected at least one sample, found none", metric);

  // Only metrics that are sums over samples; those of ranked scores are in ranking_values.hpp.
  switch (info.id) {
    case Metric::kAccuracy: return accuracy_.finish();
    case Metric::kAccuracyTop5: return top5_.finish();
    case Metric::kNll: return (info.averages_batches(convention) ? batch_nll_ : nll_).finish();
    case Metric::kBrier: return brier_.finish();
    case Metric::kEce: return reliability(convention).expected_error();
    case Metric::kEceMax: return reliability(convention).largest_error();
    case Metric::kEceClasswise:
      if (has_classwise_) return classwise_.expected_error();
      break;
    default: break;
  }
  DISSENT_FAIL(kUsage, "classification: metric: expected one that is a sum over samples, found {}",
               metric);
}

at::Tensor Classification::state() const {
  // All parts are integers, so ranks merge the whole state by one sum.
  std::vector<at::Tensor> parts{accuracy_.state(), top5_.state(), nll_.state(), batch_nll_.state(),
                                brier_.state()};
  for (const auto* part : {&closed_, &dropped_, &own_, &of_logits_})
    parts.push_back(part->state().flatten());
  if (has_classwise_) parts.push_back(classwise_.state().flatten());
  return at::cat(parts);
}

void Classification::from_state(const at::Tensor& state) {
  check_state("classification", state, {this->state().numel()});
  int64_t at = 0;
  const auto take = [&](const at::Tensor& like) {
    const auto part = state.narrow(0, at, like.numel()).view(like.sizes());
    at += like.numel();
    return part;
  };

  // The parts are concatenated in the order of state().
  accuracy_ = Accuracy::from_state(take(accuracy_.state()));
  top5_ = Accuracy::from_state(take(top5_.state()));
  for (auto* mean : {&nll_, &batch_nll_, &brier_})
    *mean = ExactMean::from_state(take(mean->state()));
  for (auto* part : {&closed_, &dropped_, &own_, &of_logits_})
    part->from_state(take(part->state()));
  if (has_classwise_) classwise_.from_state(take(classwise_.state()));
}

}  // namespace dissent::metrics
