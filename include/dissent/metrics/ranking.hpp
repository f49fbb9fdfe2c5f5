#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dissent::metrics {

/// Counts above each distinct score, from the largest down: the ROC and precision-recall curves.
/// All metrics below are functions of these integers, so they have the same bits for any order,
/// batch size or rank count.
struct RankingCurve {
  std::vector<double> thresholds;         ///< distinct scores, descending; -0 and 0 are one
  std::vector<uint64_t> true_positives;   ///< positives with score >= threshold
  std::vector<uint64_t> false_positives;  ///< negatives with score >= threshold
  uint64_t positives = 0;
  uint64_t negatives = 0;
};

/// Collects scores of positive and negative samples (8 bytes per sample); larger scores are
/// expected of positives (negate others).
class Ranking {
 public:
  /// scores [N] f32 or f64, +-inf allowed; positive [N] bool, same device.
  /// Throws Error::kData naming the count if a score is NaN.
  void update(const at::Tensor& scores, const at::Tensor& positive);
  void merge(const Ranking& other);
  /// Throws Error::kData if positives or negatives are missing.
  RankingCurve finish() const;

  /// Scores f64 [P] and [N] on the CPU in order of arrival, and back: what ranks exchange
  /// (concatenations of these are merges).
  at::Tensor positive_scores() const;
  at::Tensor negative_scores() const;
  static Ranking from_scores(const at::Tensor& positive, const at::Tensor& negative);

 private:
  std::vector<double> positive_, negative_;
};

/// Which points of the ROC curve count for FPR.
enum class RocPoints {
  kAll,            ///< every distinct score: the exact definition (conventions sklearn, sed)
  kDropCollinear,  ///< those that scikit-learn's roc_curve(drop_intermediate=True) keeps
                   ///< (conventions sdde, openood): can be larger than exact
};

/// Mann-Whitney U / (P N): the probability that a positive scores above a negative, ties one half.
/// Exact: 2 U is an integer below 2^63, else Error::kUsage.
double auroc(const RankingCurve& curve);

/// Share of negatives at the largest threshold that recalls at least `recall` (0 .. 1) of the
/// positives. Error::kUsage for another recall.
double fpr_at_recall(const RankingCurve& curve, double recall, RocPoints points = RocPoints::kAll);

/// Trapezoid area under the precision-recall curve (sklearn auc(recall, precision)), starting at
/// recall 0 with precision 1. SDDE and OpenOOD report this one.
double aupr(const RankingCurve& curve);

/// Average precision: sum over thresholds of (R_n - R_{n-1}) P_n.
double average_precision(const RankingCurve& curve);

}  // namespace dissent::metrics
