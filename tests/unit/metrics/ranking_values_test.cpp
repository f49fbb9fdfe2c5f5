#include <dissent/metrics/ranking_values.hpp>
#include <dissent/metrics/registry.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "expect_error.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::metrics;
using dissent::testing::expect_error;

namespace {

constexpr double kRounding = 1e-14;  // of sums of a few hundred terms in [0, 1]
using dissent::testing::kInfinity;

// Scores on a grid of quarters (or none, for grid 0), with both infinities among them.
Ranking made_ranking(int64_t count, uint64_t seed, double grid, bool turned = false) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  auto scores = at::randn({count}, generator, at::kDouble);
  const auto positive = at::rand({count}, generator, at::kDouble).lt(0.4);
  scores += positive.to(at::kDouble) / 2;
  if (grid > 0) scores = (scores / grid).round() * grid;
  scores[0] = kInfinity;
  scores[1] = scores[2] = -kInfinity;
  Ranking ranking;
  ranking.update(turned ? scores.neg() : scores, turned ? positive.logical_not() : positive);
  return ranking;
}

std::vector<double> sorted_down(const at::Tensor& scores) {
  const auto sorted = std::get<0>(scores.sort(0, true));
  return {sorted.const_data_ptr<double>(), sorted.const_data_ptr<double>() + sorted.numel()};
}

void expect_same(const RankingValues& a, const RankingValues& b) {
  EXPECT_EQ(a.auroc, b.auroc);
  EXPECT_EQ(a.aurc, b.aurc);
  EXPECT_EQ(a.aurc_trapezoid, b.aurc_trapezoid);
  for (const auto side : {&RankingValues::positive, &RankingValues::negative}) {
    EXPECT_EQ((a.*side).aupr, (b.*side).aupr);
    EXPECT_EQ((a.*side).average_precision, (b.*side).average_precision);
    EXPECT_EQ((a.*side).fpr, (b.*side).fpr);
    EXPECT_EQ((a.*side).fpr_dropped, (b.*side).fpr_dropped);
    EXPECT_EQ((a.*side).fpr_nearest, (b.*side).fpr_nearest);
  }
}

double slow_risk(std::vector<std::pair<double, double>> confidence_and_error) {  // without ties
  std::sort(confidence_and_error.rbegin(), confidence_and_error.rend());
  double errors = 0, sum = 0;
  for (size_t k = 0; k < confidence_and_error.size(); ++k) {
    errors += confidence_and_error[k].second;
    sum += errors / static_cast<double>(k + 1);
  }
  return sum / static_cast<double>(confidence_and_error.size());
}

}  // namespace

TEST(RankingValues, EqualTheFunctionsOfTheWholeCurve) {
  const RankingRequest request{{0.0, 0.5, 0.8, 0.95, 1.0}, false};
  for (const double grid : {0.0, 0.25, 2.0})
    for (const uint64_t seed : {1, 2, 3, 4}) {
      const auto ranking = made_ranking(400, seed, grid);
      const auto values = ranking_values(ranking, request);
      const auto check = [&](const RankingSide& side, const RankingCurve& curve) {
        EXPECT_NEAR(side.aupr, aupr(curve), kRounding);
        EXPECT_NEAR(side.average_precision, average_precision(curve), kRounding);
        for (size_t r = 0; r < request.recalls.size(); ++r) {
          EXPECT_EQ(side.fpr[r], fpr_at_recall(curve, request.recalls[r]));
          EXPECT_EQ(side.fpr_dropped[r],
                    fpr_at_recall(curve, request.recalls[r], RocPoints::kDropCollinear))
              << grid << " " << seed << " " << r;
        }
      };
      EXPECT_EQ(values.auroc, auroc(ranking.finish()));
      check(values.positive, ranking.finish());
      check(values.negative, made_ranking(400, seed, grid, true).finish());
    }
}

TEST(RankingValues, AnyDivisionIntoPiecesGivesTheSameBits) {
  const RankingRequest request{{0.05, 0.5, 0.95}, true};
  for (const double grid : {0.0, 0.25, 1.0}) {
    const auto ranking = made_ranking(300, 9, grid);
    const auto groups =
        tie_groups(sorted_down(ranking.positive_scores()), sorted_down(ranking.negative_scores()));
    const TieGroup total{static_cast<uint64_t>(ranking.positive_scores().numel()),
                         static_cast<uint64_t>(ranking.negative_scores().numel())};
    const auto whole = ranking_values(ranking, request);
    for (const size_t size : {1, 2, 7, 64}) {
      std::vector<RankingPiece> pieces;
      TieGroup above;
      for (size_t first = 0; first < groups.size(); first += size) {
        const std::vector<TieGroup> part(groups.begin() + first,
                                         groups.begin() + std::min(groups.size(), first + size));
        std::vector<int64_t> words(RankingPiece::words(request));
        RankingPiece(part, above, total, request).write(words.data());
        pieces.push_back(RankingPiece::read(words.data(), request));
        if (first % 3 == 0) pieces.push_back(RankingPiece({}, above, total, request));
        for (const auto& group : part)
          above = {above.positives + group.positives, above.negatives + group.negatives};
      }
      expect_same(ranking_values(pieces, total, request), whole);
    }
  }
}

TEST(RankingValues, CollinearPointsAreDroppedAcrossPieces) {
  const TieGroup total{20, 20};
  const RankingRequest request;
  std::vector<RankingPiece> pieces;
  for (uint64_t i = 0; i < 20; ++i)
    pieces.emplace_back(std::vector<TieGroup>{{1, 1}}, TieGroup{i, i}, total, request);
  const auto values = ranking_values(pieces, total, request);
  EXPECT_DOUBLE_EQ(values.positive.fpr[0], 0.95);
  EXPECT_EQ(values.positive.fpr_dropped[0], 1);
}

TEST(RankingValues, NearestRecallMayLieBelow) {
  // Recall 0.9 with no false positive, then 1.0 with one: 0.94 is nearer to 0.9, 0.95 as near to
  // both.
  Ranking ranking;
  ranking.update(at::tensor(std::vector<double>{9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1, 0}, at::kDouble),
                 at::arange(12).lt(10));
  const auto side = ranking_values(ranking, {{0.94, 0.96}, false}).positive;
  EXPECT_EQ(side.fpr, (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(side.fpr_nearest, (std::vector<double>{0, 0.5}));
}

TEST(Aurc, IsTheMeanRiskOverCoverages) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{4});
  const auto confidence = at::rand({200}, generator, at::kDouble);
  const auto right = at::rand({200}, generator, at::kDouble).lt(confidence);
  std::vector<std::pair<double, double>> samples;
  for (int64_t i = 0; i < 200; ++i)
    samples.emplace_back(confidence[i].item<double>(), right[i].item<bool>() ? 0 : 1);
  Ranking ranking;
  ranking.update(confidence, right);
  const auto values = ranking_values(ranking, {{}, true});
  EXPECT_NEAR(values.aurc, slow_risk(samples), kRounding);
}

TEST(Aurc, TiesCountWithTheirMeanAndOneClassIsEnough) {
  Ranking tied, right;
  tied.update(at::ones({4}, at::kDouble), at::arange(4).remainder(2).eq(0));
  EXPECT_DOUBLE_EQ(ranking_values(tied, {{}, true}).aurc, 0.5);
  EXPECT_DOUBLE_EQ(ranking_values(tied, {{}, true}).aurc_trapezoid, 0.5);
  right.update(at::rand({5}, at::kDouble), at::ones({5}, at::kBool));
  EXPECT_EQ(ranking_values(right, {{}, true}).aurc, 0);
  EXPECT_TRUE(std::isnan(ranking_values(right, {{}, true}).auroc));
  expect_error(ErrorKind::kData, "found 5 and 0", [&] { ranking_values(right); });
}

TEST(MetricTable, NamesAreUniqueAndConventionsKnown) {
  std::set<std::string> names;
  for (const auto& metric : metric_table()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_EQ(&find_metric(metric.name), &metric);
    EXPECT_FALSE(metric.meaning.empty() || metric.needs.empty() || metric.conventions.empty())
        << metric.name;
    for (const auto& convention : metric.conventions)
      EXPECT_EQ(find_convention(convention_name(convention.convention)), convention.convention)
          << metric.name;
  }
  expect_error(ErrorKind::kUsage, "metric: expected one of accuracy, ", [] { find_metric("acc"); });
  EXPECT_NE(metrics_page().find("| `fpr95` |"), std::string::npos);
}

TEST(MetricTable, ConventionsOfDetection) {
  const auto values = ranking_values(made_ranking(200, 3, 0.25));
  EXPECT_EQ(detection_value(values, "aupr_in"), values.negative.aupr);
  EXPECT_EQ(detection_value(values, "aupr_in", Convention::kSdde), values.positive.aupr);
  EXPECT_EQ(detection_value(values, "aupr_out", Convention::kOpenood), values.positive.aupr);
  EXPECT_EQ(detection_value(values, "aupr_out", Convention::kTorchUncertainty),
            values.positive.average_precision);
  EXPECT_EQ(detection_value(values, "fpr95", Convention::kOpenood), values.positive.fpr_dropped[0]);
  EXPECT_EQ(detection_value(values, "fpr95_in"), values.negative.fpr[0]);
  expect_error(ErrorKind::kUsage, "convention: expected one that defines it, found sdde",
               [&] { detection_value(values, "fpr95_in", Convention::kSdde); });
  expect_error(ErrorKind::kUsage, "found accuracy", [&] { detection_value(values, "accuracy"); });
  for (const auto& metric : metric_table()) {
    if (metric.needs != std::vector{MetricNeed::kOodScores}) continue;
    for (const auto& convention : metric.conventions)
      EXPECT_TRUE(std::isfinite(detection_value(values, metric.name, convention.convention)))
          << metric.name;
  }
}
