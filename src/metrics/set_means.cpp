#include <dissent/metrics/set_means.hpp>

#include <algorithm>

#include "metrics/host_values.hpp"

namespace dissent::metrics {

std::vector<SetValue> shift_means(const std::vector<SetValue>& values,
                                  const std::vector<std::string>& shifts) {
  std::vector<SetValue> means;
  for (const auto& shift : shifts) {
    std::vector<SetValue> of_shift;
    std::vector<int64_t> sets;
    for (const auto& value : values) {
      if (value.shift != shift) continue;

      // One mean per metric, in order of appearance.
      auto found = std::find_if(of_shift.begin(), of_shift.end(),
                                [&](const SetValue& mean) { return mean.metric == value.metric; });
      if (found == of_shift.end()) {
        of_shift.push_back({shift + " mean", shift, value.metric, 0, 0});
        sets.push_back(0);
        found = of_shift.end() - 1;
      }
      found->value += value.value;
      found->samples += value.samples;
      ++sets[found - of_shift.begin()];
    }

    // Every set counts once, whatever its number of samples.
    for (size_t i = 0; i < of_shift.size(); ++i) of_shift[i].value /= static_cast<double>(sets[i]);
    means.insert(means.end(), of_shift.begin(), of_shift.end());
  }
  return means;
}

LabelledScores full_spectrum(const LabelledScores& id,
                             const std::vector<LabelledScores>& covariate) {
  std::vector<at::Tensor> confidence, predictions, labels;
  const auto append = [&](const LabelledScores& part) {
    check_values("full_spectrum", "confidence", part.confidence);
    check_beside("full_spectrum", "predictions", part.predictions, part.confidence, at::kLong);
    check_beside("full_spectrum", "labels", part.labels, part.confidence, at::kLong);
    DISSENT_CHECK(part.confidence.scalar_type() == id.confidence.scalar_type() &&
                      part.confidence.device() == id.confidence.device(),
                  kUsage, "full_spectrum: confidence: expected {} {}, found {}",
                  c10::toString(id.confidence.scalar_type()), id.confidence.device().str(),
                  describe(part.confidence));
    confidence.push_back(part.confidence);
    predictions.push_back(part.predictions);
    labels.push_back(part.labels);
  };

  // The in-distribution samples first; all of them count as known inputs.
  append(id);
  for (const auto& part : covariate) append(part);
  return {at::cat(confidence), at::cat(predictions), at::cat(labels)};
}

}  // namespace dissent::metrics
