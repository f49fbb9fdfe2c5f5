#include <dissent/metrics/calibration.hpp>
#include <dissent/metrics/correct_classification.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::metrics;
using namespace dissent::testing;

namespace {

at::Tensor bools(std::vector<int64_t> values) { return at::tensor(values, at::kLong).ne(0); }

Calibration calibration(std::vector<double> confidence, std::vector<int64_t> right) {
  Calibration state;
  state.update(at::tensor(confidence, at::kDouble), bools(right));
  return state;
}

}  // namespace

TEST(Calibration, TwoBinsInClosedForm) {
  // [0, .5): confidence .2 and .4, one of two right, gap .2; [.5, 1]: .6, wrong, gap .6.
  const auto state = calibration({0.2, 0.4, 0.6}, {1, 0, 0});
  EXPECT_NEAR(state.expected_error(2), (0.2 * 2 + 0.6) / 3, 1e-15);
  EXPECT_NEAR(state.largest_error(2), 0.6, 1e-15);
}

TEST(Calibration, ConfidenceOneGoesWhereTheConventionSays) {
  const auto state = calibration({0.9, 1.0}, {1, 0});
  EXPECT_NEAR(state.expected_error(2, TopBin::kClosed), std::abs(0.5 - 0.95), 1e-15);
  EXPECT_NEAR(state.expected_error(2, TopBin::kOwn), (0.1 + 1.0) / 2, 1e-15);
  EXPECT_NEAR(state.expected_error(2, TopBin::kDropped), 0.1, 1e-15);
  EXPECT_EQ(calibration({1.0, 1.0}, {0, 0}).expected_error(2, TopBin::kDropped), 0);
}

TEST(Calibration, AnySplitGivesTheSameBits) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{5});
  const auto confidence = at::rand({1000}, generator, at::kDouble);
  const auto right = at::rand({1000}, generator, at::kDouble).lt(confidence);
  Calibration whole, merged;
  SampleMean mean, merged_mean;
  whole.update(confidence, right);
  mean.update(confidence);
  for (const int64_t part : {3, 1, 0, 2}) {
    Calibration piece;
    piece.update(confidence.slice(0, part * 250, part * 250 + 250),
                 right.slice(0, part * 250, part * 250 + 250));
    merged.merge(piece);
    SampleMean of_piece;
    of_piece.update(confidence.slice(0, part * 250, part * 250 + 250));
    merged_mean.merge(of_piece);
  }
  EXPECT_EQ(whole.expected_error(), merged.expected_error());
  EXPECT_EQ(mean.finish(), merged_mean.finish());
}

TEST(Calibration, NanIsAnErrorThatNamesTheCount) {
  expect_error(ErrorKind::kData, "found 1 of 2 NaN",
               [] { calibration({0.5, std::nan("")}, {1, 1}); });
}

TEST(SampleMean, NanAndEmptinessShow) {
  SampleMean state;
  expect_error(ErrorKind::kData, "expected at least one sample", [&] { state.finish(); });
  state.update(at::tensor({1.0, std::nan("")}, at::kDouble));
  EXPECT_TRUE(std::isnan(state.finish()));
}

TEST(Likelihood, EqualLogitsGiveLogCAndTheUniformBrier) {
  const auto logits = at::zeros({3, 4}, at::kDouble), expected = at::full({3}, 0.75, at::kDouble);
  const auto labels = at::tensor({0, 1, 3}, at::kLong);
  EXPECT_LT((negative_log_likelihood(logits, labels) - std::log(4.0)).abs().max().item<double>(),
            1e-15);
  EXPECT_LT((brier(logits, labels) - expected).abs().max().item<double>(), 1e-15);
  expect_error(ErrorKind::kUsage, "expected class numbers 0 .. 3, found 0 .. 4",
               [&] { brier(logits, at::tensor({0, 1, 4}, at::kLong)); });
}

TEST(CorrectClassification, CountsRightSamplesStrictlyAboveTheThreshold) {
  CorrectClassification first, second;
  // OOD at 1, 2, 3, 4; ID right at 2, 3.5, 5, wrong at 6.
  first.update(at::tensor({1.0, 2.0, 2.0, 6.0}, at::kDouble), at::tensor({0, 0, 7, 7}, at::kLong),
               at::tensor({-1, -1, 7, 8}, at::kLong));
  second.update(at::tensor({3.0, 4.0, 3.5, 5.0}, at::kDouble), at::tensor({0, 0, 7, 7}, at::kLong),
                at::tensor({-1, -1, 7, 7}, at::kLong));
  first.merge(second);
  EXPECT_DOUBLE_EQ(first.finish(0.25), 1.0 / 4);  // above 4: only 5
  EXPECT_DOUBLE_EQ(first.finish(0.5), 2.0 / 4);   // above 3
  EXPECT_DOUBLE_EQ(first.finish(0.75), 2.0 / 4);  // above 2, strictly
  EXPECT_DOUBLE_EQ(first.finish(0), 3.0 / 4);     // as released: above the smallest
  expect_error(ErrorKind::kData, "expected at least one ID and one OOD sample, found 0 and 0",
               [] { CorrectClassification().finish(0.1); });
}
