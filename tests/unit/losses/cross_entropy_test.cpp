#include <dissent/losses/cross_entropy.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {
at::Tensor cross_entropy_labels() { return at::tensor({0, 2, 1, 4}, at::kLong); }
}  // namespace

TEST(CrossEntropy, EqualLogitsGiveLogCForAnySmoothing) {
  for (const double smoothing : {0.0, 0.5, 1.0}) {
    const auto value =
        cross_entropy(at::full({2, 4, 5}, 3.0, at::kDouble), cross_entropy_labels(), smoothing);
    EXPECT_LT((value - std::log(5.0)).abs().max().item<double>(), 1e-15);
  }
}

TEST(CrossEntropy, EqualsTheSumOverTheSmoothedTargets) {
  const auto logits = made_logits(3, 4, 5);
  const double smoothing = 0.3;
  const auto target =
      at::one_hot(cross_entropy_labels(), 5).to(at::kDouble) * (1 - smoothing) + smoothing / 5;
  const auto expected = -(target * at::log_softmax(logits, -1)).sum(-1);
  EXPECT_LT((cross_entropy(logits, cross_entropy_labels(), smoothing) - expected)
                .abs()
                .max()
                .item<double>(),
            1e-14);
}

TEST(CrossEntropy, GradientAgreesWithFiniteDifferences) {
  for (const double smoothing : {0.0, 0.4})
    EXPECT_LT(gradient_error(
                  [&](const at::Tensor& x) {
                    return cross_entropy(x, cross_entropy_labels(), smoothing).square().sum();
                  },
                  made_logits(2, 4, 5), 1e-5),
              1e-7);
}

TEST(CrossEntropy, IsFiniteForLogitsFarApart) {
  const auto value = cross_entropy(at::tensor({-1e4, 1e4}, at::kDouble).view({1, 1, 2}),
                                   at::zeros({1}, at::kLong), 0.1);
  EXPECT_NEAR(value.item<double>(), 2e4 * 0.95, 1e-9);
}

TEST(CrossEntropy, RefusalsNameArgumentWantedAndGiven) {
  const auto logits = made_logits(2, 4, 5);
  expect_error(ErrorKind::kUsage, "labels: expected class numbers 0 .. 4, found 0 .. 5",
               [&] { cross_entropy(logits, at::tensor({0, 5, 1, 1}, at::kLong)); });
  expect_error(ErrorKind::kUsage, "expected class numbers 0 .. 4, found -1 .. 1",
               [&] { cross_entropy(logits, at::tensor({0, -1, 1, 1}, at::kLong)); });
  expect_error(ErrorKind::kUsage, "labels: expected [4] Long cpu, found [3] Long cpu",
               [&] { cross_entropy(logits, at::zeros({3}, at::kLong)); });
  expect_error(ErrorKind::kUsage, "found [4] Int cpu",
               [&] { cross_entropy(logits, cross_entropy_labels().to(at::kInt)); });
  expect_error(ErrorKind::kUsage,
               "logits: expected [M >= 1, B >= 1, C >= 1] of f32 or f64, found [4, 5] Double",
               [&] { cross_entropy(logits[0], cross_entropy_labels()); });
  expect_error(ErrorKind::kUsage, "Half",
               [&] { cross_entropy(logits.to(at::kHalf), cross_entropy_labels()); });
  expect_error(ErrorKind::kUsage, "smoothing: expected a number in 0 .. 1, found 1.5",
               [&] { cross_entropy(logits, cross_entropy_labels(), 1.5); });
}

TEST(AboveThreshold, EveryMemberHasToBeStrictlyAbove) {
  // p_y is exactly 1/2 where the two logits are equal.
  const auto logits =
      at::tensor({0.0, 0.0, 3.0, 0.0, 3.0, 0.0, /**/ 3.0, 0.0, 3.0, 0.0, -3.0, 0.0}, at::kDouble)
          .view({2, 3, 2});
  const auto zeros = at::zeros({3}, at::kLong);
  EXPECT_TRUE(
      at::equal(above_threshold(logits, zeros, 0.5), at::tensor({0, 1, 0}, at::kLong).ne(0)));
  EXPECT_TRUE(
      at::equal(above_threshold(logits, zeros, 0.49), at::tensor({1, 1, 0}, at::kLong).ne(0)));
}
