// Metrics over ranks have the bits of the whole, however the samples lie on ranks. Run on 1 to 4
// ranks; every rank makes all samples and keeps some.
#include "evaluate/values/reduce.hpp"

#include <dissent/metrics/classification.hpp>
#include <dissent/metrics/conformal.hpp>
#include <dissent/metrics/correct_classification.hpp>
#include <dissent/metrics/diversity.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "mpi_main.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Which rank has sample i.
using Lies = std::function<int(int64_t i, int64_t count, int ranks)>;
const std::vector<Lies>& distributions() {
  static const std::vector<Lies> all{
      [](int64_t i, int64_t, int ranks) { return static_cast<int>(i % ranks); },  // in turn
      [](int64_t i, int64_t count, int ranks) {
        return static_cast<int>(i * ranks / count);
      },                                                      // blocks
      [](int64_t, int64_t, int ranks) { return ranks - 1; },  // all on one
      [](int64_t i, int64_t, int ranks) {
        return i % 10 == 0 ? 0 : static_cast<int>((i / 7) % ranks);
      },  // uneven
  };
  return all;
}

at::Tensor own_rows(const Lies& lies, int64_t count) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i)
    if (lies(i, count, world().size()) == world().rank()) rows.push_back(i);
  return at::tensor(rows, at::kLong);
}

// Normal draws, rounded to a grid (0: not), with infinities and both zeros.
at::Tensor made_scores(int64_t count, uint64_t seed, double grid, double shift) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  auto scores = at::randn({count}, generator, at::kDouble) + shift;
  if (grid > 0) scores = (scores / grid).round() * grid;
  scores[0] = kInfinity;
  scores[1] = -kInfinity;
  scores[2] = 0.0;
  scores[3] = -0.0;
  return scores;
}

SortedScores own_scores(const at::Tensor& all, const Lies& lies) {
  return SortedScores(world(), all.index_select(0, own_rows(lies, all.size(0))), "set", "score");
}

metrics::RankingValues whole_values(const at::Tensor& positive, const at::Tensor& negative,
                                    const metrics::RankingRequest& request) {
  return metrics::ranking_values(metrics::Ranking::from_scores(positive, negative), request);
}

void expect_same(const metrics::RankingValues& a, const metrics::RankingValues& b) {
  EXPECT_EQ(a.positives, b.positives);
  EXPECT_EQ(a.auroc, b.auroc);
  EXPECT_EQ(a.aurc, b.aurc);
  EXPECT_EQ(a.aurc_trapezoid, b.aurc_trapezoid);
  for (const auto side : {&metrics::RankingValues::positive, &metrics::RankingValues::negative}) {
    EXPECT_EQ((a.*side).aupr, (b.*side).aupr);
    EXPECT_EQ((a.*side).average_precision, (b.*side).average_precision);
    EXPECT_EQ((a.*side).fpr, (b.*side).fpr);
    EXPECT_EQ((a.*side).fpr_dropped, (b.*side).fpr_dropped);
    EXPECT_EQ((a.*side).fpr_nearest, (b.*side).fpr_nearest);
  }
}

}  // namespace

TEST(RankScores, HaveTheBitsOfTheWhole) {
  const metrics::RankingRequest request{{0.05, 0.5, 0.95, 1.0}, true};
  for (const double grid : {0.0, 0.25, 4.0}) {
    const auto positive = made_scores(700, 1, grid, 0.5), negative = made_scores(430, 2, grid, 0);
    const auto whole = whole_values(positive, negative, request);
    for (const auto& lies : distributions())
      for (const int64_t round_values : {int64_t{1}, int64_t{20}, int64_t{333}, int64_t{1} << 20})
        expect_same(rank_scores(world(), own_scores(positive, lies), own_scores(negative, lies),
                                request, {round_values}),
                    whole);
  }
}

TEST(RankScores, OneScoreSharedByAllAndFewSamples) {
  const metrics::RankingRequest request{{0.95}, true};
  const auto lies = distributions()[0];
  const auto same = at::full({50}, 2.5), few = at::tensor({1.0, 2.0}, at::kDouble);
  expect_same(rank_scores(world(), own_scores(same, lies), own_scores(same, lies), request, {5}),
              whole_values(same, same, request));
  expect_same(rank_scores(world(), own_scores(few, lies), own_scores(few, lies), request),
              whole_values(few, few, request));
}

TEST(RankScores, SinglePrecisionRanksAlike) {
  const auto lies = distributions()[1];
  const auto positive = made_scores(100, 1, 0.5, 1), negative = made_scores(90, 2, 0.5, 0);
  expect_same(
      rank_scores(world(), own_scores(positive.to(at::kFloat), lies), own_scores(negative, lies)),
      whole_values(positive, negative, {}));
}

TEST(RankScores, NanIsAnErrorOfAllRanksThatNamesSetAndCount) {
  auto scores = made_scores(40, 1, 0, 0);
  scores[5] = scores[39] = std::nan("");
  for (const auto& lies : distributions()) {
    const auto own = scores.index_select(0, own_rows(lies, 40));
    expect_error(ErrorKind::kData, "set far: score pds: expected numbers, found 2 of 40 NaN",
                 [&] { SortedScores(world(), own, "far", "pds"); });
  }
}

TEST(RankScores, AMissingClassIsAnErrorOfAllRanks) {
  const auto lies = distributions()[0];
  const auto some = own_scores(made_scores(10, 1, 0, 0), lies),
             none = own_scores(at::zeros({0}), lies);
  expect_error(ErrorKind::kData, "found 10 and 0", [&] { rank_scores(world(), some, none); });
  expect_error(ErrorKind::kUsage, "expected [n] of f32 or f64",
               [] { SortedScores(world(), at::zeros({2}, at::kLong), "set", "score"); });
}

TEST(RankScores, FullSpectrumIsTheJoinedSet) {
  const auto id = made_scores(80, 1, 0.25, 1), shifted = made_scores(60, 2, 0.25, 0.5),
             ood = made_scores(70, 3, 0.25, 0);
  const auto lies = distributions()[3];
  std::vector<SortedScores> parts{own_scores(id, lies), own_scores(shifted, lies)};
  const auto joined = SortedScores::joined(std::move(parts));
  expect_same(rank_scores(world(), joined, own_scores(ood, lies), {}, {30}),
              whole_values(at::cat({id, shifted}), ood, {}));
}

TEST(ScoresAt, AreThoseOfTheSortedWhole) {
  for (const double grid : {0.0, 1.0}) {
    const auto scores = made_scores(101, 7, grid, 0);
    const auto sorted = std::get<0>(scores.sort(0, true));
    for (const auto& lies : distributions()) {
      const std::vector<int64_t> positions{0, 1, 17, 50, 99, 100};
      const auto values = scores_at(world(), own_scores(scores, lies), positions);
      for (size_t i = 0; i < positions.size(); ++i)
        EXPECT_EQ(values[i], sorted[positions[i]].item<double>());
    }
  }
  const auto scores = own_scores(made_scores(10, 1, 0, 0), distributions()[0]);
  expect_error(ErrorKind::kUsage, "expected 0 .. 9, found 10",
               [&] { scores_at(world(), scores, {10}); });
}

TEST(ConformalOverRanks, QuantileIsThatOfTheWhole) {
  const auto scores =
      at::rand({57}, at::make_generator<at::CPUGeneratorImpl>(uint64_t{3}), at::kDouble);
  for (const auto& lies : distributions())
    for (const double level : {0.1, 0.5, 0.9, 0.99})
      EXPECT_EQ(conformal_quantile_over_ranks(world(), own_scores(scores, lies), level),
                metrics::conformal_quantile(scores, level));
}

TEST(CcrOverRanks, IsThatOfTheWhole) {
  const auto id = made_scores(200, 1, 0.25, 1), ood = made_scores(90, 2, 0.25, 0);
  const auto right = at::arange(200).remainder(3).ne(0);
  metrics::CorrectClassification whole;
  whole.update(id, right.to(at::kLong), at::ones({200}, at::kLong));
  whole.update(ood, at::zeros({90}, at::kLong), at::full({90}, -1, at::kLong));
  const std::vector<double> fprs{0, 0.001, 0.01, 0.1, 0.5, 1};
  for (const auto& lies : distributions()) {
    const auto rows = own_rows(lies, 200);
    const auto own = id.index_select(0, rows).masked_select(right.index_select(0, rows));
    const auto rates = ccr_over_ranks(world(), SortedScores(world(), own, "id", "msp"), 200,
                                      own_scores(ood, lies), fprs);
    for (size_t i = 0; i < fprs.size(); ++i) EXPECT_EQ(rates[i], whole.finish(fprs[i])) << fprs[i];
  }
}

TEST(MergedState, EveryStateIsThatOfTheWhole) {
  const auto logits = made_logits(3, 90, 6);
  const auto labels = at::arange(90).remainder(6);
  metrics::Classification whole(6);
  metrics::Diversity diverse(3);
  whole.update(logits[0], labels);
  diverse.update(logits, labels);
  const auto confidence = at::softmax(logits[0], -1).amax(-1);
  const auto right = logits[0].argmax(-1).eq(labels);
  for (const auto& lies : distributions()) {
    const auto rows = own_rows(lies, 90);
    metrics::Classification own(6);
    metrics::Diversity own_diverse(3);
    if (rows.numel() > 0) own.update(logits[0].index_select(0, rows), labels.index_select(0, rows));
    own_diverse.update(logits.index_select(1, rows), labels.index_select(0, rows));
    own.from_state(merged_state(world(), own.state()));
    for (const char* name : {"accuracy", "nll", "brier", "ece", "ece_classwise"})
      EXPECT_EQ(own.finish(name), whole.finish(name)) << name;
    own_diverse.from_state(merged_state(world(), own_diverse.state()));
    EXPECT_TRUE(at::equal(own_diverse.state(), diverse.state()));
    EXPECT_EQ(
        equal_mass_error_over_ranks(world(), own_scores(confidence, lies),
                                    confidence.index_select(0, rows), right.index_select(0, rows)),
        metrics::equal_mass_error(confidence, right));
  }
}
