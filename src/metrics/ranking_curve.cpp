#include <dissent/error.hpp>
#include <dissent/metrics/ranking.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace dissent::metrics {
namespace {

double share(uint64_t part, uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

// Whether scikit-learn keeps point i: the ends, and every point off the straight line through its
// two neighbours in index.
bool is_kept(const RankingCurve& curve, size_t i) {
  // With drop_intermediate, roc_curve drops points whose second difference of counts is 0.
  const auto bends = [i](const std::vector<uint64_t>& counts) {
    return counts[i + 1] - counts[i] != counts[i] - counts[i - 1];
  };
  return i == 0 || i + 1 == curve.thresholds.size() || bends(curve.true_positives) ||
         bends(curve.false_positives);
}

}  // namespace

double auroc(const RankingCurve& curve) {
  DISSENT_CHECK(curve.positives <= std::numeric_limits<int64_t>::max() / 2 / curve.negatives,
                kUsage,
                "auroc: expected fewer than 2^62 pairs, found {} positive and {} negative samples",
                curve.positives, curve.negatives);

  // Twice the number of pairs (positive, negative) in the right order, ties counted once.
  uint64_t twice = 0, true_before = 0, false_before = 0;
  for (size_t i = 0; i < curve.thresholds.size(); ++i) {
    const uint64_t tied_negatives = curve.false_positives[i] - false_before;
    twice += tied_negatives * (true_before + curve.true_positives[i]);
    true_before = curve.true_positives[i];
    false_before = curve.false_positives[i];
  }
  return share(twice, 2 * curve.positives * curve.negatives);
}

double fpr_at_recall(const RankingCurve& curve, double recall, RocPoints points) {
  DISSENT_CHECK(recall >= 0 && recall <= 1, kUsage,
                "fpr_at_recall: recall: expected 0 .. 1, found {}", recall);
  if (recall == 0) return 0;

  // The first point whose recall is reached.
  for (size_t i = 0; i < curve.thresholds.size(); ++i) {
    if (points == RocPoints::kDropCollinear && !is_kept(curve, i)) continue;
    if (share(curve.true_positives[i], curve.positives) >= recall)
      return share(curve.false_positives[i], curve.negatives);
  }
  return 1;
}

double aupr(const RankingCurve& curve) {
  // Trapezoids from recall 0, where precision is 1 by convention.
  double area = 0, recall_before = 0, precision_before = 1;
  for (size_t i = 0; i < curve.thresholds.size(); ++i) {
    const double recall = share(curve.true_positives[i], curve.positives);
    const double precision =
        share(curve.true_positives[i], curve.true_positives[i] + curve.false_positives[i]);
    area += (recall - recall_before) * (precision + precision_before) / 2;
    recall_before = recall;
    precision_before = precision;
  }
  return area;
}

double average_precision(const RankingCurve& curve) {
  // Steps instead of trapezoids: no interpolation between thresholds.
  double sum = 0, recall_before = 0;
  for (size_t i = 0; i < curve.thresholds.size(); ++i) {
    const double recall = share(curve.true_positives[i], curve.positives);
    sum += (recall - recall_before) *
           share(curve.true_positives[i], curve.true_positives[i] + curve.false_positives[i]);
    recall_before = recall;
  }
  return sum;
}

}  // namespace dissent::metrics
