#include <dissent/metrics/ranking.hpp>

#include <algorithm>
#include <functional>

#include "metrics/host_values.hpp"

namespace dissent::metrics {

void Ranking::update(const at::Tensor& scores, const at::Tensor& positive) {
  // NaN has no place in a ranking, so it is an error and not the lowest score.
  check_values("ranking", "scores", scores);
  check_beside("ranking", "positive", positive, scores, at::kBool);
  check_no_nan("ranking", scores);
  append_values(positive_, scores.masked_select(positive));
  append_values(negative_, scores.masked_select(positive.logical_not()));
}

void Ranking::merge(const Ranking& other) {
  positive_.insert(positive_.end(), other.positive_.begin(), other.positive_.end());
  negative_.insert(negative_.end(), other.negative_.begin(), other.negative_.end());
}

RankingCurve Ranking::finish() const {
  DISSENT_CHECK(!positive_.empty() && !negative_.empty(), kData,
                "ranking: expected at least one positive and one negative sample, found {} and {}",
                positive_.size(), negative_.size());

  // Sorted copies: more samples may follow after a curve was computed.
  auto positive = positive_, negative = negative_;
  std::sort(positive.begin(), positive.end(), std::greater<>());
  std::sort(negative.begin(), negative.end(), std::greater<>());

  // Merges both descending lists. Samples with equal scores form one point of the curve, so ties
  // are resolved in no particular order.
  RankingCurve curve;
  curve.positives = positive.size();
  curve.negatives = negative.size();
  size_t p = 0, n = 0;
  while (p < positive.size() || n < negative.size()) {
    const bool from_positive =
        n == negative.size() || (p < positive.size() && positive[p] >= negative[n]);
    const double threshold = from_positive ? positive[p] : negative[n];
    while (p < positive.size() && positive[p] == threshold) ++p;
    while (n < negative.size() && negative[n] == threshold) ++n;
    curve.thresholds.push_back(threshold);
    curve.true_positives.push_back(p);
    curve.false_positives.push_back(n);
  }
  return curve;
}

at::Tensor Ranking::positive_scores() const { return at::tensor(positive_, at::kDouble); }

at::Tensor Ranking::negative_scores() const { return at::tensor(negative_, at::kDouble); }

Ranking Ranking::from_scores(const at::Tensor& positive, const at::Tensor& negative) {
  check_values("ranking", "positive", positive);
  check_values("ranking", "negative", negative);
  check_no_nan("ranking", positive);
  check_no_nan("ranking", negative);

  Ranking ranking;
  append_values(ranking.positive_, positive);
  append_values(ranking.negative_, negative);
  return ranking;
}

}  // namespace dissent::metrics
