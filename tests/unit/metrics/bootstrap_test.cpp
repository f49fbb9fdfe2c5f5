#include <dissent/metrics/bootstrap.hpp>
#include <dissent/metrics/ranking.hpp>

#include <cmath>
#include <vector>

#include "core/parallel.hpp"
#include "expect_error.hpp"

using namespace dissent;
using namespace dissent::metrics;
using dissent::testing::expect_error;

namespace {

at::Tensor normal(at::IntArrayRef sizes, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(sizes, generator, at::kDouble);
}

double auroc_of(const at::Tensor& positive, const at::Tensor& negative) {
  return auroc(Ranking::from_scores(positive, negative).finish());
}

}  // namespace

TEST(PairedBootstrap, IntervalIsThatOfTheMean) {
  const auto base = normal({400}, 1), a = base + 0.1 + 0.2 * normal({400}, 2);
  const auto interval = paired_bootstrap(a, base, {.resamples = 4000, .level = 0.9, .seed = 3});
  const auto difference = a - base;
  EXPECT_NEAR(interval.difference, difference.mean().item<double>(), 1e-15);
  const double error = difference.std().item<double>() / 20;
  // The deviation of 4,000 draws is known to 1 %, a percentile to about 0.03 errors; five
  // deviations of both.
  EXPECT_NEAR(interval.standard_error, error, 0.06 * error);
  EXPECT_NEAR(interval.low, interval.difference - 1.645 * error, 0.2 * error);
  EXPECT_NEAR(interval.high, interval.difference + 1.645 * error, 0.2 * error);
}

TEST(PairedBootstrap, PairingTakesOutWhatBothShare) {
  const auto hard = normal({300}, 4) * 100;
  const auto interval = paired_bootstrap(hard + 1, hard);
  EXPECT_NEAR(interval.low, 1, 1e-12);
  EXPECT_NEAR(interval.high, 1, 1e-12);
  const auto equal = paired_bootstrap(hard, hard);
  EXPECT_EQ(equal.low, 0);
  EXPECT_EQ(equal.standard_error, 0);
}

TEST(PairedBootstrap, SeedsAddTheirOwnSpread) {
  const auto of_seed = normal({5, 1}, 6), samples = normal({5, 1000}, 7);
  const auto a = of_seed + samples, b = samples;
  const auto interval = paired_bootstrap(a, b, {.resamples = 2000});
  EXPECT_NEAR(interval.difference, of_seed.mean().item<double>(), 1e-13);
  // Only seeds differ: deviation of a mean of five draws with replacement, known to 1.6 %.
  const double error = of_seed.std(at::IntArrayRef{0}, false).item<double>() / std::sqrt(5.0);
  EXPECT_NEAR(interval.standard_error, error, 0.1 * error);
}

TEST(PairedBootstrap, SameBitsForAnyThreadsAndOtherOnesForAnotherSeed) {
  const auto a = normal({100}, 1).gt(0), b = normal({100}, 2).gt(0.2);
  const auto one = paired_bootstrap(a, b);
  set_threads(3);
  const auto three = paired_bootstrap(a, b);
  set_threads(1);
  EXPECT_EQ(one.low, three.low);
  EXPECT_EQ(one.standard_error, three.standard_error);
  EXPECT_NE(paired_bootstrap(a, b, {.seed = 1}).standard_error, one.standard_error);
}

TEST(BootstrapAuroc, DifferenceAndSpread) {
  // Scores on a grid: ties within and between the classes.
  const auto grid = [](const at::Tensor& scores) { return (scores * 4).round() / 4; };
  const auto positive = normal({300}, 1) + 1, negative = normal({200}, 2);
  const ScoredSets a{grid(positive), grid(negative)},
      b{grid(positive + normal({300}, 3)), grid(negative + normal({200}, 4))};
  const auto interval = paired_bootstrap_auroc(a, b, {.resamples = 500});
  EXPECT_NEAR(interval.difference,
              auroc_of(a.positive, a.negative) - auroc_of(b.positive, b.negative), 1e-15);
  EXPECT_LT(interval.low, interval.difference);
  EXPECT_GT(interval.high, interval.difference);
  // Resampled by hand: deviation within six of its own (500 draws each: 3 %).
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{9});
  std::vector<double> values;
  for (int i = 0; i < 500; ++i) {
    const auto p = at::randint(300, {300}, generator, at::kLong),
               n = at::randint(200, {200}, generator, at::kLong);
    values.push_back(auroc_of(a.positive.index({p}), a.negative.index({n})) -
                     auroc_of(b.positive.index({p}), b.negative.index({n})));
  }
  const double error = at::tensor(values, at::kDouble).std().item<double>();
  EXPECT_NEAR(interval.standard_error, error, 0.27 * error);
}

TEST(BootstrapAuroc, SeveralSeedsAverage) {
  const auto p = normal({3, 50}, 1) + 1, n = normal({3, 40}, 2);
  const auto interval = paired_bootstrap_auroc({p, n}, {p - 0.5, n}, {.resamples = 50});
  double expected = 0;
  for (int64_t s = 0; s < 3; ++s)
    expected += (auroc_of(p[s], n[s]) - auroc_of(p[s] - 0.5, n[s])) / 3;
  EXPECT_NEAR(interval.difference, expected, 1e-15);
}

TEST(PairedBootstrap, WrongInputsAreErrors) {
  const auto a = at::zeros({4}), nan = at::full({4}, std::nan(""));
  expect_error(ErrorKind::kUsage, "b: expected [1, 4], found [1, 3]",
               [&] { paired_bootstrap(a, at::zeros({3})); });
  expect_error(ErrorKind::kUsage, "level: expected above 0 and below 1, found 1",
               [&] { paired_bootstrap(a, a, {.level = 1}); });
  expect_error(ErrorKind::kUsage, "resamples: expected 2 or more, found 1",
               [&] { paired_bootstrap(a, a, {.resamples = 1}); });
  expect_error(ErrorKind::kData, "expected finite differences, found 4 of 4",
               [&] { paired_bootstrap(a, nan); });
  expect_error(ErrorKind::kData, "found 4 of 4 NaN",
               [&] { paired_bootstrap_auroc({nan, a}, {a, a}); });
  expect_error(ErrorKind::kUsage, "b.negative: expected [1, 4], found [1, 2]",
               [&] { paired_bootstrap_auroc({a, a}, {a, at::zeros({2})}); });
}
