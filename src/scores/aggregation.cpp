#include <cstdint>

#include <fmt/ranges.h>

#include <dissent/scores/aggregation.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include "core/tensor_check.hpp"

namespace dissent::scores {

const std::vector<std::string>& aggregation_names() {
  static const std::vector<std::string> names = {
      "average", "prob_average", "prob_minmax",    "prob_maxstd", "logit_average", "minmax",
      "stdmax",  "maxstd",       "average_minmax", "energy",      "average_energy"};
  return names;
}

Aggregation aggregation(const std::string& name) {
  const auto& names = aggregation_names();
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<Aggregation>(i);
  DISSENT_FAIL(kUsage, "aggregation: expected one of {}, found '{}'", fmt::join(names, ", "), name);
}

int64_t min_members(Aggregation aggregation) {
  return aggregation == Aggregation::kProbMaxstd || aggregation == Aggregation::kStdmax ||
                 aggregation == Aggregation::kMaxstd
             ? 2
             : 1;
}

at::Tensor aggregate(Aggregation aggregation, const at::Tensor& logits,
                     const at::Tensor& ensemble) {
  const auto& name = aggregation_names()[static_cast<size_t>(aggregation)];
  check_outputs(name.c_str(), "logits", logits, min_members(aggregation), 0);

  // `ensemble` is the mean over members if the caller already has it.
  const bool fits = !ensemble.defined() || (ensemble.sizes() == logits.sizes().slice(1) &&
                                            ensemble.scalar_type() == logits.scalar_type() &&
                                            ensemble.device() == logits.device());
  DISSENT_CHECK(fits, kUsage, "{}: ensemble: expected [{}, {}] {} {}, found {}", name,
                logits.size(1), logits.size(2), c10::toString(logits.scalar_type()),
                logits.device().str(), describe(ensemble));
  if (logits.size(1) == 0) return logits.new_empty({0});  // deviations would warn

  // Computed only by the cases that need them.
  const auto mean = [&] { return ensemble.defined() ? ensemble : mean_logits(logits); };
  const auto confidences = [&] { return at::softmax(logits, -1).amax(-1); };  // [M, B]

  switch (aggregation) {
    case Aggregation::kAverage: return at::softmax(mean(), -1).amax(-1);
    case Aggregation::kProbAverage: return mean_probabilities(logits).amax(-1);
    case Aggregation::kProbMinmax: return confidences().amin(0);
    case Aggregation::kProbMaxstd: return confidences().std(0, true).neg();
    case Aggregation::kLogitAverage: return mean().amax(-1);
    case Aggregation::kMinmax: return logits.amax(-1).amin(0);
    case Aggregation::kStdmax: return logits.std(0, true).amax(-1).neg();
    case Aggregation::kMaxstd: return logits.amax(-1).std(0, true).neg();
    case Aggregation::kAverageMinmax: {
      const auto chosen = mean().argmax(-1, true).unsqueeze(0).expand({logits.size(0), -1, -1});
      return logits.gather(2, chosen).squeeze(2).amin(0);
    }
    case Aggregation::kEnergy: return mean().logsumexp(-1);
    case Aggregation::kAverageEnergy: return logits.logsumexp(-1).mean(0);
  }
  DISSENT_FAIL(kInternal, "aggregation {} has no function", static_cast<int>(aggregation));
}

}  // namespace dissent::scores
