#include <dissent/losses/a2d.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {
double disagreement(double p, double q) { return -std::log(p * (1 - q) + q * (1 - p) + 1e-9); }
}  // namespace

TEST(A2d, TwoMembersInClosedForm) {
  const auto p = at::tensor({0.7, 0.2, 0.1, /**/ 0.3, 0.6, 0.1}, at::kDouble).view({2, 1, 3});
  EXPECT_NEAR(a2d_probabilities(p, 1).item<double>(), disagreement(0.7, 0.3),
              1e-15);  // class 0, of member 0
  EXPECT_NEAR(a2d_probabilities(p, 0).item<double>(), disagreement(0.6, 0.2),
              1e-15);  // class 1, of member 1
}

TEST(A2d, AveragesOverTheOthers) {
  const auto logits = made_logits(4, 6, 5);
  const auto p = at::softmax(logits, -1);
  const auto value = a2d(logits, 2);
  for (int64_t b = 0; b < 6; ++b) {
    double sum = 0;
    for (const int64_t i : {0, 1, 3}) {
      const auto top = p[i][b].argmax().item<int64_t>();
      sum += disagreement(p[i][b][top].item<double>(), p[2][b][top].item<double>());
    }
    EXPECT_NEAR(value[b].item<double>(), sum / 3, 1e-14);
  }
}

TEST(A2d, FirstClassOnTies) {
  const auto p = at::tensor({0.4, 0.4, 0.2, /**/ 0.1, 0.3, 0.6}, at::kDouble).view({2, 1, 3});
  EXPECT_NEAR(a2d_probabilities(p, 1).item<double>(), disagreement(0.4, 0.1), 1e-15);
}

TEST(A2d, CertainMembersStayFinite) {
  // Exactly 1 and 0 in f64: agreement is -log(1e-9), disagreement -log(1 + 1e-9).
  const auto logits =
      at::tensor({1000.0, 0.0, 1000.0, 0.0, /**/ 1000.0, 0.0, 0.0, 1000.0}, at::kDouble)
          .view({2, 2, 2});
  const auto value = a2d(logits, 0);
  EXPECT_NEAR(value[0].item<double>(), -std::log(1e-9), 1e-12);
  EXPECT_NEAR(value[1].item<double>(), -1e-9, 1e-15);
  EXPECT_TRUE(gradient_of([](const at::Tensor& x) { return a2d(x, 0).sum(); }, logits)
                  .isfinite()
                  .all()
                  .item<bool>());
}

TEST(A2d, GradientAgreesWithFiniteDifferencesForEveryDrawnMember) {
  for (int64_t m = 0; m < 3; ++m)
    EXPECT_LT(gradient_error([m](const at::Tensor& x) { return a2d(x, m).square().sum(); },
                             made_logits(3, 4, 5)),
              kGradientTolerance)
        << m;
}

TEST(A2d, SecondDerivativeAgreesWithFiniteDifferences) {
  const auto direction = made_logits(2, 3, 4, 1, 11);
  const auto slope = [&](const at::Tensor& point) {
    const auto x = point.requires_grad() ? point : point.detach().clone().set_requires_grad(true);
    return (torch::autograd::grad({a2d(x, 0).sum()}, {x}, {}, true, true)[0] * direction).sum();
  };
  EXPECT_LT(gradient_error(slope, made_logits(2, 3, 4)), kGradientTolerance);
}

TEST(A2d, OrderOfTheOthersDoesNotMatter) {
  const auto logits = made_logits(4, 6, 5);
  const auto order = at::tensor({3, 1, 0, 2}, at::kLong);  // member 1 stays in place
  EXPECT_LT((a2d(logits, 1) - a2d(logits.index_select(0, order), 1)).abs().max().item<double>(),
            1e-15);
}

TEST(A2d, OneMemberAndAnIndexOutsideAreErrors) {
  expect_error(ErrorKind::kUsage, "a2d: logits: expected [M >= 2, B >= 1, C >= 1]",
               [] { a2d(made_logits(1, 4, 5), 0); });
  expect_error(ErrorKind::kUsage, "a2d: m: expected 0 .. 1, found 2",
               [] { a2d(made_logits(2, 4, 5), 2); });
  expect_error(ErrorKind::kUsage, "a2d: m: expected 0 .. 1, found -1",
               [] { a2d(made_logits(2, 4, 5), -1); });
}

TEST(A2d, SinglePrecisionStaysNearDouble) {
  // 1 - p loses at most one rounding (6e-8) and the sum in the logarithm is at least about 0.01
  // here.
  const auto logits = made_logits(5, 128, 1000, 2);
  const auto exact = a2d(logits.to(at::kFloat).to(at::kDouble), 3);
  const auto single = a2d(logits.to(at::kFloat), 3);
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  EXPECT_LT(((single - exact) / exact.abs().clamp_min(1)).abs().max().item<double>(), 1e-5);
}
