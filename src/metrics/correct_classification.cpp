#include <dissent/metrics/correct_classification.hpp>

#include "metrics/host_values.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

namespace dissent::metrics {

void CorrectClassification::update(const at::Tensor& confidence, const at::Tensor& predictions,
                                   const at::Tensor& labels) {
  check_values("correct_classification", "confidence", confidence);
  check_beside("correct_classification", "predictions", predictions, confidence, at::kLong);
  check_beside("correct_classification", "labels", labels, confidence, at::kLong);
  check_no_nan("correct_classification", confidence);

  // Wrong predictions in distribution only count in the denominator.
  const auto id = labels.ne(-1);
  append_values(ood_, confidence.masked_select(id.logical_not()));
  append_values(right_, confidence.masked_select(id.logical_and(predictions.eq(labels))));
  id_count_ += id.sum().item<int64_t>();
}

void CorrectClassification::merge(const CorrectClassification& other) {
  // Scores are sorted in finish(), so their order here does not matter.
  ood_.insert(ood_.end(), other.ood_.begin(), other.ood_.end());
  right_.insert(right_.end(), other.right_.begin(), other.right_.end());
  id_count_ += other.id_count_;
}

double CorrectClassification::finish(double fpr) const {
  check_range("correct_classification", "fpr", fpr, 0, 1);
  DISSENT_CHECK(
      id_count_ > 0 && !ood_.empty(), kData,
      "correct_classification: expected at least one ID and one OOD sample, found {} and {}",
      id_count_, ood_.size());

  // The threshold is the score that the allowed number of OOD samples reach.
  auto ood = ood_;
  std::sort(ood.begin(), ood.end(), std::greater<>());
  const auto allowed = static_cast<size_t>(std::ceil(fpr * static_cast<double>(ood.size())));
  const double threshold = allowed == 0 ? ood.back() : ood[allowed - 1];

  // Strictly above, as in the reference.
  const auto right = std::count_if(right_.begin(), right_.end(), [threshold](double confidence) {
    return confidence > threshold;
  });
  return static_cast<double>(right) / static_cast<double>(id_count_);
}

}  // namespace dissent::metrics
