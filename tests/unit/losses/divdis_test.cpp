#include <dissent/losses/divdis.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "unit/losses/peak_memory.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

constexpr auto kMi = DivDisMode::kMutualInformation;
constexpr auto kL1 = DivDisMode::kL1;
constexpr auto kMean = DivDisReduction::kMean;
constexpr auto kMinEach = DivDisReduction::kMinEach;

// Logits whose softmax is exactly one-hot in f64.
at::Tensor certain(std::vector<int64_t> classes, int64_t count) {
  return at::one_hot(at::tensor(classes, at::kLong), count).to(at::kDouble) * 2000;
}

}  // namespace

TEST(DivDis, EqualCertainMembersShareLogCNats) {
  // J is diagonal with 1/4, so all other entries are 0 log 0.
  const auto member = certain({0, 1, 2, 3}, 4);
  EXPECT_NEAR(divdis(at::stack({member, member}), kMi, kMean).item<double>(), std::log(4.0) + 1e-9,
              1e-14);
}

TEST(DivDis, IndependentMembersShareNothing) {
  const auto value =
      divdis(at::stack({certain({0, 0, 1, 1}, 2), certain({0, 1, 0, 1}, 2)}), kMi, kMean)
          .item<double>();
  EXPECT_NEAR(value, 1e-9, 1e-15);
}

TEST(DivDis, CertainMembersHaveAFiniteGradient) {
  const auto logits = at::stack({certain({0, 1, 2, 2}, 4), certain({0, 1, 1, 2}, 4)});
  EXPECT_TRUE(gradient_of([](const at::Tensor& x) { return divdis(x, kMi, kMean); }, logits)
                  .isfinite()
                  .all()
                  .item<bool>());
}

TEST(DivDis, L1IsMinusTheDistance) {
  const auto logits = at::stack(
      {certain({0, 1}, 3), certain({0, 2}, 3)});  // distance 0 in the first sample, 2 in the second
  EXPECT_NEAR(divdis(logits, kL1, kMean).item<double>(), -1, 1e-15);
}

TEST(DivDis, MinEachTakesTheMostAlikePartner) {
  const auto a = certain({0, 1, 0, 1}, 2), b = certain({0, 0, 1, 1}, 2);
  const auto logits =
      at::stack({a, a, b});  // pairs: (0,1) log 2, (0,2) and (1,2) 0; rows: log 2, log 2, 0
  EXPECT_NEAR(divdis(logits, kMi, kMinEach).item<double>(), (2 * std::log(2.0)) / 3 + 1e-9, 1e-12);
  EXPECT_NEAR(divdis(logits, kMi, kMean).item<double>(), std::log(2.0) / 3 + 1e-9, 1e-12);
}

TEST(DivDis, PairsOfExactlyZeroAreLeftOut) {
  const auto a = certain({0, 1}, 3), b = certain({0, 2}, 3);
  const auto logits =
      at::stack({a, a, b});  // distances 0, 1, 1: the mean is over the two that differ
  EXPECT_NEAR(divdis(logits, kL1, kMean).item<double>(), -1, 1e-15);
  EXPECT_NEAR(divdis(logits, kL1, kMinEach).item<double>(), -1, 1e-15);
}

TEST(DivDis, NoPairLeftGivesZeroWithZeroGradient) {
  const auto member = made_logits(1, 4, 5).expand({3, -1, -1}).contiguous();
  for (const auto reduction : {kMean, kMinEach}) {
    EXPECT_EQ(divdis(member, kL1, reduction).item<double>(), 0);
    EXPECT_EQ(gradient_of([&](const at::Tensor& x) { return divdis(x, kL1, reduction); }, member)
                  .abs()
                  .max()
                  .item<double>(),
              0);
  }
}

TEST(DivDis, OneLogitIsASigmoid) {
  const auto one = made_logits(3, 6, 1);
  const auto two =
      at::cat({one, at::zeros_like(one)}, -1);  // softmax(z, 0) = (sigmoid z, 1 - sigmoid z)
  EXPECT_NEAR(divdis(one, kMi, kMean).item<double>(), divdis(two, kMi, kMean).item<double>(),
              1e-14);
}

TEST(DivDis, GradientAgreesWithFiniteDifferences) {
  for (const int64_t classes : {1, 4})
    for (const auto mode : {kMi, kL1})
      for (const auto reduction : {kMean, kMinEach}) {
        const auto f = [&](const at::Tensor& x) { return divdis(x, mode, reduction); };
        EXPECT_LT(gradient_error(f, made_logits(3, 6, classes)), kGradientTolerance);
      }
}

TEST(DivDis, OrderOfMembersDoesNotMatter) {
  const auto logits = made_logits(4, 8, 5);
  const auto order = at::tensor({2, 0, 3, 1}, at::kLong);
  for (const auto mode : {kMi, kL1})
    for (const auto reduction : {kMean, kMinEach})
      EXPECT_NEAR(divdis(logits, mode, reduction).item<double>(),
                  divdis(logits.index_select(0, order), mode, reduction).item<double>(), 1e-14);
}

TEST(DivDis, NanReachesTheValue) {
  auto logits = made_logits(3, 4, 5);
  logits[1][2][3] = std::nan("");
  for (const auto mode : {kMi, kL1})
    for (const auto reduction : {kMean, kMinEach})
      EXPECT_TRUE(std::isnan(divdis(logits, mode, reduction).item<double>()));
}

TEST(DivDis, OneMemberIsAnError) {
  expect_error(ErrorKind::kUsage, "divdis: logits: expected [M >= 2",
               [] { divdis(made_logits(1, 4, 5), kMi, kMean); });
}

TEST(DivDis, ASecondDerivativeIsAnErrorNotAWrongNumber) {
  const auto x = made_logits(2, 4, 3).set_requires_grad(true);
  expect_error(ErrorKind::kUsage, "second derivative",
               [&] { torch::autograd::grad({divdis(x, kMi, kMean)}, {x}, {}, true, true); });
}

TEST(DivDis, AThousandClassesNeedThreeClassSquaresAtATime) {
  const int64_t rows = 32, classes = 1000, square = classes * classes * 4;
  for (int64_t members = 2; members <= 5; ++members) {
    const auto logits = made_logits(members, rows, classes).to(at::kFloat).set_requires_grad(true);
    PeakMemory memory;
    const auto value = divdis(logits, kMi, kMean);
    const auto gradient = torch::autograd::grad({value}, {logits})[0];
    EXPECT_EQ(gradient.sizes(), logits.sizes());
    EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    EXPECT_GT(memory.peak(), square);  // the hook sees the allocations at all
    EXPECT_LT(memory.peak(), 3 * square + 8 * members * rows * classes * 4)
        << members << " members";
  }
}

TEST(DivDis, SinglePrecisionStaysNearDouble) {
  const auto logits = made_logits(5, 128, 1000).to(at::kFloat);
  const double exact = divdis(logits.to(at::kDouble), kMi, kMean).item<double>();
  // A million terms of either sign, each rounded to 6e-8 of about 1e-6 log(1e-6).
  EXPECT_NEAR(divdis(logits, kMi, kMean).item<double>(), exact, 1e-5);
}
