#include <dissent/losses/dice.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {
at::Tensor pair_logits(double deviation = 3) { return made_logits(1, 6, 8, deviation)[0]; }
}  // namespace

TEST(Dice, IsTheClippedLogRatio) {
  const auto d = pair_logits();
  const auto ratio = -(at::exp(-d) + 1e-6).log();
  EXPECT_NEAR(dice(d).item<double>(), (10 * (ratio / 10).tanh()).mean().item<double>(), 1e-14);
  EXPECT_NEAR(dice(d, {.tau = 3}).item<double>(), (3 * (ratio / 3).tanh()).mean().item<double>(),
              1e-14);
  EXPECT_NEAR(dice(at::zeros({1, 1}, at::kDouble)).item<double>(), -std::log1p(1e-6), 1e-20);
}

TEST(Dice, IsFiniteWithFiniteDerivativesFarOut) {
  const auto f = [](const at::Tensor& x) { return dice(x); };
  for (const auto dtype : {at::kFloat, at::kDouble})
    for (const double far : {200.0, 88.0, 89.0, 1e4, 1e30}) {
      const auto low = at::full({1, 1}, -far, dtype), high = at::full({1, 1}, far, dtype);
      EXPECT_NEAR(f(low).item<double>(), 10 * std::tanh(-far / 10), 1e-5) << far;
      EXPECT_NEAR(f(high).item<double>(), 10 * std::tanh(-std::log(1e-6) / 10), 1e-5) << far;
      EXPECT_GE(gradient_of(f, low).item<double>(), 0) << far;  // false for NaN
      EXPECT_LT(gradient_of(f, low).item<double>(), 1e-6) << far;
      EXPECT_GE(gradient_of(f, high).item<double>(), 0) << far;
      EXPECT_LT(gradient_of(f, high).item<double>(), 1e-6) << far;
    }
}

TEST(Dice, GradientAgreesWithFiniteDifferences) {
  for (const double deviation : {1.0, 10.0})
    EXPECT_LT(gradient_error([](const at::Tensor& x) { return dice(x); }, pair_logits(deviation)),
              kGradientTolerance);
}

TEST(Dice, SecondDerivativeAgreesWithFiniteDifferences) {
  const auto slope = [](const at::Tensor& point) {
    const auto x = point.requires_grad() ? point : point.detach().clone().set_requires_grad(true);
    return torch::autograd::grad({dice(x)}, {x}, {}, true, true)[0].square().sum();
  };
  EXPECT_LT(gradient_error(slope, pair_logits(10)), kGradientTolerance);
}

TEST(Dice, SinglePrecisionStaysNearDouble) {
  const auto d = made_logits(1, 1225, 16, 8)[0].to(at::kFloat);  // the pairs of 50 members
  EXPECT_NEAR(dice(d).item<double>(), dice(d.to(at::kDouble)).item<double>(), 1e-6);
}

TEST(Dice, NoPairAndAWrongTauAreErrors) {
  expect_error(
      ErrorKind::kUsage,
      "dice: pair_logits: expected [P >= 1, B >= 1] of f32 or f64, found [0, 4] Double cpu",
      [] { dice(at::zeros({0, 4}, at::kDouble)); });
  expect_error(ErrorKind::kUsage, "dice: tau: expected a number > 0, found 0",
               [] { dice(pair_logits(), {.tau = 0}); });
}

TEST(MemberPairs, ComeInOrder) {
  EXPECT_EQ(member_pairs(3), (std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {0, 2}, {1, 2}}));
  EXPECT_TRUE(member_pairs(1).empty());
  EXPECT_EQ(member_pairs(50).size(), 1225u);
}

TEST(RollWithinClass, GivesTheOneBefore) {
  // class 5: rows 0, 2, 5; class 1: rows 1, 4; class 3: row 3 alone.
  const auto rows = roll_within_class(at::tensor({5, 1, 5, 3, 1, 5}, at::kLong));
  EXPECT_TRUE(at::equal(rows, at::tensor({5, 4, 0, 3, 1, 2}, at::kLong)));
}

TEST(RollWithinClass, IsThePlainLoopOnManyLabels) {
  const auto labels = made_logits(1, 1, 500)[0][0].mul(3).round().to(at::kLong).abs();
  const auto rows = roll_within_class(labels);
  for (int64_t b = 0; b < 500; ++b) {
    int64_t before = b;
    do before = (before + 499) % 500;
    while (labels[before].item<int64_t>() != labels[b].item<int64_t>());
    ASSERT_EQ(rows[b].item<int64_t>(), before);
  }
}

TEST(RollWithinClass, WrongLabelsAreAnError) {
  expect_error(ErrorKind::kUsage,
               "roll_within_class: labels: expected [B >= 1] Long, found [2] Double cpu",
               [] { roll_within_class(at::zeros({2}, at::kDouble)); });
}
