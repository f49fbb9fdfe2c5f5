#include <dissent/metrics/conformal.hpp>

#include <cmath>
#include <limits>

#include "expect_error.hpp"

using namespace dissent;
using namespace dissent::metrics;
using dissent::testing::expect_error;

namespace {

struct Labelled {
  at::Tensor p, labels;
};

// Labels drawn from other probabilities than those that are shown: coverage must hold all the same.
Labelled made(int64_t rows, uint64_t seed, int64_t classes = 20) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const auto logits = at::randn({rows, classes}, generator, at::kDouble) * 2;
  return {at::softmax(logits * 1.7, -1),
          at::multinomial(at::softmax(logits, -1), 1, false, generator).squeeze(1)};
}

ConformalCounts evaluated(const Labelled& calibration, const Labelled& test,
                          const ConformalOptions& options) {
  const double quantile = conformal_quantile(
      conformal_scores(calibration.p, calibration.labels, options), options.level);
  ConformalCounts counts;
  counts.update(conformal_sets(test.p, quantile, options), test.labels);
  return counts;
}

at::Tensor one_row() { return at::tensor({0.1, 0.6, 0.3}, at::kDouble).view({1, 3}); }

}  // namespace

TEST(Conformal, ScoresInClosedForm) {
  ConformalOptions options;
  options.randomised = false;
  const auto score = [&](int64_t label) {
    return conformal_scores(one_row(), at::full({1}, label, at::kLong), options).item<double>();
  };
  EXPECT_DOUBLE_EQ(score(1), 0.6);
  EXPECT_DOUBLE_EQ(score(2), 0.9);
  EXPECT_DOUBLE_EQ(score(0), 1.0);
  options.penalty = 0.5;
  options.free_ranks = 1;
  EXPECT_DOUBLE_EQ(score(1), 0.6);
  EXPECT_DOUBLE_EQ(score(2), 0.9 + 0.5);
  EXPECT_DOUBLE_EQ(score(0), 1.0 + 1.0);
}

TEST(Conformal, QuantileCountsTheTestSampleToo) {
  const auto scores = at::arange(1, 10, at::kDouble) / 10;  // 0.1 .. 0.9
  EXPECT_EQ(conformal_quantile(scores, 0.8), 0.8);
  EXPECT_EQ(conformal_quantile(scores, 0.81), 0.9);
  EXPECT_EQ(conformal_quantile(scores, 0.95), std::numeric_limits<double>::infinity());
  EXPECT_EQ(conformal_position(9, 0.95), -1);
  EXPECT_TRUE(
      conformal_sets(one_row(), std::numeric_limits<double>::infinity()).all().item<bool>());
}

TEST(Conformal, CoverageIsTheLevel) {
  const auto calibration = made(4000, 1), test = made(4000, 2);
  // The share covered deviates by sqrt(0.1 * 0.9 * 2 / 4000) = 0.0067; four of these.
  for (const double penalty : {0.0, 0.01}) {
    ConformalOptions options;
    options.penalty = penalty;
    const auto counts = evaluated(calibration, test, options);
    EXPECT_NEAR(counts.coverage(), 0.9, 0.027) << penalty;
    options.randomised = false;
    const auto whole = evaluated(calibration, test, options);
    EXPECT_GT(whole.coverage(), 0.9 - 0.027);
    EXPECT_GT(whole.mean_size(), counts.mean_size());
  }
}

TEST(Conformal, PenaltyCutsTheLargeSets) {
  const auto calibration = made(3000, 3, 100), test = made(3000, 4, 100);
  auto strong = raps_options();
  strong.penalty = 0.2;
  const auto largest = [&](const ConformalOptions& options) {
    const double quantile = conformal_quantile(
        conformal_scores(calibration.p, calibration.labels, options), options.level);
    return conformal_sets(test.p, quantile, options).sum(1).max().item<int64_t>();
  };
  EXPECT_LT(largest(strong), largest({}));
}

TEST(Conformal, BlocksDrawWhatTheWholeDoes) {
  const auto data = made(100, 5);
  const auto whole = conformal_sets(data.p, 0.8),
             second = conformal_sets(data.p.slice(0, 60), 0.8, {}, 60);
  EXPECT_TRUE(at::equal(whole.slice(0, 60), second));
  EXPECT_TRUE(at::equal(conformal_scores(data.p, data.labels).slice(0, 60),
                        conformal_scores(data.p.slice(0, 60), data.labels.slice(0, 60), {}, 60)));
  const auto test = conformal_scores(data.p, data.labels, {}, 0, ConformalPart::kTest);
  EXPECT_FALSE(at::equal(conformal_scores(data.p, data.labels), test));
  // A label is in the set where its own score says so.
  EXPECT_TRUE(at::equal(whole.gather(1, data.labels.unsqueeze(1)).squeeze(1), test.le(0.8)));
}

TEST(Conformal, EmptySetsAreAllowedOrGetTheFirstClass) {
  ConformalOptions options;
  EXPECT_EQ(conformal_sets(one_row(), -1, options).sum().item<int64_t>(), 0);
  options.allow_empty = false;
  EXPECT_TRUE(conformal_sets(one_row(), -1, options)[0][1].item<bool>());
  ConformalCounts counts;
  counts.update(at::zeros({2, 3}, at::kBool), at::zeros({2}, at::kLong));
  counts.update(at::ones({2, 3}, at::kBool), at::zeros({2}, at::kLong));
  counts = ConformalCounts::from_state(counts.state() + counts.state());
  EXPECT_EQ(counts.coverage(), 0.5);
  EXPECT_EQ(counts.mean_size(), 1.5);
  EXPECT_EQ(counts.empty_share(), 0.5);
}

TEST(Conformal, WrongInputsAreErrors) {
  expect_error(ErrorKind::kData, "expected probabilities in [0, 1], found 1 of 3",
               [] { conformal_sets(one_row() * 2, 0.5); });
  expect_error(ErrorKind::kUsage, "level: expected above 0",
               [] { conformal_sets(one_row(), 0.5, {.level = 0}); });
  expect_error(ErrorKind::kUsage, "penalty: expected 0 or more",
               [] { conformal_sets(one_row(), 0.5, {.penalty = -1}); });
  expect_error(ErrorKind::kData, "expected at least one calibration sample",
               [] { conformal_quantile(at::zeros({0}), 0.9); });
  expect_error(ErrorKind::kData, "expected at least one sample",
               [] { ConformalCounts().coverage(); });
}
