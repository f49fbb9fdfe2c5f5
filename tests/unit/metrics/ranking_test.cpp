#include <dissent/metrics/ranking.hpp>

#include <cmath>
#include <limits>

#include "expect_error.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::metrics;
using dissent::testing::expect_error;

namespace {

using dissent::testing::kInfinity;

struct Samples {
  at::Tensor scores, positive;
};

// Scores on a coarse grid, so that many tie, with both infinities among them.
Samples made_samples(int64_t count, uint64_t seed = 3) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  Samples samples{(at::randn({count}, generator, at::kDouble) * 4).round() / 4,
                  at::rand({count}, generator, at::kDouble).lt(0.4)};
  samples.scores += samples.positive.to(at::kDouble) / 2;
  samples.scores[0] = kInfinity;
  samples.scores[1] = -kInfinity;
  samples.scores[2] = -kInfinity;
  return samples;
}

RankingCurve curve(const Samples& samples) {
  Ranking ranking;
  ranking.update(samples.scores, samples.positive);
  return ranking.finish();
}

double slow_auroc(const Samples& samples) {
  const auto p = samples.scores.masked_select(samples.positive),
             n = samples.scores.masked_select(samples.positive.logical_not());
  double right = 0;
  for (int64_t i = 0; i < p.numel(); ++i)
    for (int64_t j = 0; j < n.numel(); ++j) {
      const double a = p[i].item<double>(), b = n[j].item<double>();
      right += a > b ? 1 : a == b ? 0.5 : 0;
    }
  return right / static_cast<double>(p.numel() * n.numel());
}

Samples samples_of(std::vector<double> positive, std::vector<double> negative) {
  const auto p = at::tensor(positive, at::kDouble), n = at::tensor(negative, at::kDouble);
  return {at::cat({p, n}), at::cat({at::ones_like(p), at::zeros_like(n)}).ne(0)};
}

}  // namespace

TEST(Auroc, EqualsTheLoopOverAllPairs) {
  for (const uint64_t seed : {1, 2, 3}) {
    const auto samples = made_samples(300, seed);
    EXPECT_DOUBLE_EQ(auroc(curve(samples)), slow_auroc(samples));
  }
}

TEST(Auroc, KnownValues) {
  EXPECT_EQ(auroc(curve(samples_of({2, 3}, {0, 1}))), 1);
  EXPECT_EQ(auroc(curve(samples_of({0, 1}, {2, 3}))), 0);
  EXPECT_EQ(auroc(curve(samples_of({1, 1, 1}, {1, 1}))), 0.5);
  EXPECT_EQ(auroc(curve(samples_of({0.0}, {-0.0}))), 0.5);
  EXPECT_EQ(auroc(curve(samples_of({kInfinity, -kInfinity}, {kInfinity, -kInfinity}))), 0.5);
}

TEST(Auroc, ScoresThatDifferInTheLastBitAreNotTied) {
  const double one = 1, next = std::nextafter(1.0, 2.0);
  EXPECT_EQ(auroc(curve(samples_of({next}, {one}))), 1);
}

TEST(Ranking, AnySplitAndOrderGivesTheSameBits) {
  const auto samples = made_samples(500);
  const auto whole = curve(samples);
  const auto order = at::randperm(500, at::kLong);
  for (const int64_t size : {1, 7, 64, 499}) {
    std::vector<Ranking> parts;
    for (const auto& rows : order.split(size)) {
      parts.emplace_back();
      parts.back().update(samples.scores.index_select(0, rows),
                          samples.positive.index_select(0, rows));
    }
    Ranking merged;
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) merged.merge(*part);
    const auto other =
        Ranking::from_scores(merged.positive_scores(), merged.negative_scores()).finish();
    EXPECT_EQ(auroc(other), auroc(whole));
    EXPECT_EQ(aupr(other), aupr(whole));
    EXPECT_EQ(average_precision(other), average_precision(whole));
    EXPECT_EQ(fpr_at_recall(other, 0.95), fpr_at_recall(whole, 0.95));
  }
}

TEST(Ranking, SingleAndDoublePrecisionScoresRankAlike) {
  const auto samples = made_samples(100);
  EXPECT_EQ(auroc(curve({samples.scores.to(at::kFloat), samples.positive})), auroc(curve(samples)));
}

TEST(Ranking, NanIsAnErrorThatNamesTheCount) {
  auto samples = made_samples(10);
  samples.scores[4] = std::nan("");
  samples.scores[7] = std::nan("");
  expect_error(ErrorKind::kData, "found 2 of 10 NaN", [&] { curve(samples); });
}

TEST(Ranking, AMissingClassIsAnError) {
  expect_error(ErrorKind::kData,
               "expected at least one positive and one negative sample, found 0 and 2",
               [] { curve(samples_of({}, {1, 2})); });
  expect_error(ErrorKind::kData, "found 1 and 0", [] { curve(samples_of({1}, {})); });
}

TEST(Ranking, WrongInputsAreErrors) {
  Ranking ranking;
  expect_error(ErrorKind::kUsage, "positive: expected [2] Bool cpu, found [3]",
               [&] { ranking.update(at::zeros({2}), at::zeros({3}, at::kBool)); });
  expect_error(ErrorKind::kUsage, "scores: expected [N] of f32 or f64",
               [&] { ranking.update(at::zeros({2}, at::kLong), at::zeros({2}, at::kBool)); });
}

TEST(Auroc, CountsBeyondTheIntegerAreRefused) {
  RankingCurve wide{
      {1.0}, {uint64_t{1} << 32}, {uint64_t{1} << 31}, uint64_t{1} << 32, uint64_t{1} << 31};
  expect_error(ErrorKind::kUsage, "fewer than 2^62 pairs", [&] { auroc(wide); });
  wide.positives = wide.true_positives[0] = uint64_t{1} << 30;
  EXPECT_EQ(auroc(wide), 0.5);
}

TEST(FprAtRecall, TakesTheLargestThresholdThatRecallsEnough) {
  std::vector<double> positive, negative;
  for (int i = 1; i <= 20; ++i) positive.push_back(i);
  for (int i = 0; i < 10; ++i) negative.push_back(i + 0.5);  // 0.5 .. 9.5
  const auto counts = curve(samples_of(positive, negative));
  EXPECT_DOUBLE_EQ(fpr_at_recall(counts, 0.95),
                   0.8);  // 19 of 20 is reached exactly, at threshold 2: 2.5 .. 9.5 are above
  EXPECT_DOUBLE_EQ(fpr_at_recall(counts, 0.951), 0.9);  // needs all 20, at threshold 1
  EXPECT_EQ(fpr_at_recall(counts, 0), 0);
  EXPECT_DOUBLE_EQ(fpr_at_recall(counts, 1), 0.9);
}

TEST(FprAtRecall, DroppedCollinearPointsMakeItLarger) {
  std::vector<double> values;
  for (int i = 0; i < 20; ++i) values.push_back(i);
  const auto counts =
      curve(samples_of(values, values));  // the ROC curve is the diagonal in equal steps
  EXPECT_DOUBLE_EQ(fpr_at_recall(counts, 0.95), 0.95);
  EXPECT_EQ(fpr_at_recall(counts, 0.95, RocPoints::kDropCollinear), 1);
}

TEST(Aupr, KnownValues) {
  // Down from the top: positive, negative, positive. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
  const auto counts = curve(samples_of({3, 1}, {2}));
  EXPECT_DOUBLE_EQ(average_precision(counts), 0.5 * 1 + 0.5 * 2 / 3);
  EXPECT_DOUBLE_EQ(aupr(counts), 0.5 * 1 + 0.5 * (0.5 + 2.0 / 3) / 2);
  EXPECT_EQ(aupr(curve(samples_of({2, 3}, {0, 1}))), 1);
}
