#include <dissent/losses/adp.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "unit/losses/peak_memory.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

at::Tensor labels(int64_t rows, int64_t classes) {
  return at::arange(rows, at::kLong).remainder(classes);
}

constexpr double kLogEps = -11.512925464970229;  // log 1e-5

}  // namespace

TEST(Adp, OpenMembersInClosedForm) {
  // Three members, three classes, p = 1/3 everywhere: entropy log 3; V has equal rows of length 1 /
  // (1 + 1e-6 / |v|), so one eigenvalue is 3 s^2 + 1e-5 and two are 1e-5.
  const auto logits = at::zeros({3, 2, 3}, at::kDouble);
  const double s = 1 / (1 + 1e-6 / (std::sqrt(2.0) / 3));
  const double logdet = std::log(3 * s * s + 1e-5) + 2 * kLogEps;
  EXPECT_NEAR(adp(logits, labels(2, 3), {.alpha = 1, .beta = 0}).item<double>(), -std::log(3.0),
              1e-15);
  EXPECT_NEAR(adp(logits, labels(2, 3), {.alpha = 0, .beta = 1}).item<double>(), -logdet, 1e-9);
  EXPECT_NEAR(adp(logits, labels(2, 3)).item<double>(), -2 * std::log(3.0) - 0.5 * logdet, 1e-9);
}

TEST(Adp, WrongClassesInDifferentDirectionsCostNothing) {
  // Each member believes in its own wrong class: V is diagonal with 1, to 2 parts in 1e6.
  const auto logits =
      at::tensor({0.0, 0.0, -2000.0, /**/ 0.0, -2000.0, 0.0}, at::kDouble).view({2, 1, 3});
  const auto value = adp(logits, at::zeros({1}, at::kLong), {.alpha = 0, .beta = 1});
  EXPECT_NEAR(value.item<double>(), -2 * std::log(std::pow(1 + 1e-6 / 0.5, -2) + 1e-5), 1e-12);
}

TEST(Adp, CertainMembersStayFinite) {
  // p is exactly (1, 0, 0), so V is 0 and the determinant 1e-5 to the power M; q log q is 0.
  const auto logits = at::tensor({2000.0, 0.0, 0.0}, at::kDouble).expand({4, 2, 3}).contiguous();
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const auto f = [](const at::Tensor& x) { return adp(x, at::zeros({2}, at::kLong)); };
    EXPECT_NEAR(f(logits.to(dtype)).item<double>(), 0.5 * -4 * kLogEps, 1e-5);
    EXPECT_EQ(gradient_of(f, logits.to(dtype)).abs().max().item<double>(), 0);
  }
}

TEST(Adp, GradientAgreesWithFiniteDifferences) {
  const auto f = [](const at::Tensor& x) { return adp(x, labels(4, 5)); };
  EXPECT_LT(gradient_error(f, made_logits(3, 4, 5)), kGradientTolerance);
}

TEST(Adp, MoreMembersThanWrongClassesHaveAGradientToo) {
  // The matrix is singular but for 1e-5: third derivatives are larger by 1e3 and so is the error of
  // the difference.
  const auto f = [](const at::Tensor& x) { return adp(x, labels(3, 3)); };
  EXPECT_LT(gradient_error(f, made_logits(5, 3, 3), 1e-6), 1e-5);
}

TEST(Adp, OrderOfMembersDoesNotMatter) {
  const auto logits = made_logits(4, 6, 5),
             shuffled = logits.index_select(0, at::tensor({2, 0, 3, 1}, at::kLong));
  EXPECT_NEAR(adp(logits, labels(6, 5)).item<double>(), adp(shuffled, labels(6, 5)).item<double>(),
              1e-10);
}

TEST(Adp, OneMemberHasADeterminantOfItsOwn) {
  const auto logits = made_logits(1, 3, 4);
  const double value = adp(logits, labels(3, 4), {.alpha = 0, .beta = 1}).item<double>();
  EXPECT_NEAR(value, 0, 2e-5);  // -log(1 + 1e-5 - 2e-6 / norm)
}

TEST(Adp, RefusalsNameArgumentWantedAndGiven) {
  const auto logits = made_logits(2, 4, 5);
  expect_error(ErrorKind::kUsage, "adp: labels: expected class numbers 0 .. 4, found 0 .. 5",
               [&] { adp(logits, at::tensor({0, 5, 1, 1}, at::kLong)); });
  expect_error(ErrorKind::kUsage, "adp: alpha: expected a number in 0 ..",
               [&] { adp(logits, labels(4, 5), {.alpha = -1, .beta = 0}); });
  expect_error(ErrorKind::kUsage, "adp: beta: expected a number in 0 ..",
               [&] { adp(logits, labels(4, 5), {.alpha = 1, .beta = std::nan("")}); });
}

TEST(Adp, SinglePrecisionStaysNearDoubleWithinItsMemory) {
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const auto logits = made_logits(members, rows, 1000).to(at::kFloat).set_requires_grad(true);
    const auto exact = logits.detach().to(at::kDouble).set_requires_grad(true);
    const auto exact_value = adp(exact, labels(rows, 1000));
    const auto exact_gradient = torch::autograd::grad({exact_value}, {exact})[0];
    PeakMemory memory;
    const auto value = adp(logits, labels(rows, 1000));
    const auto gradient = torch::autograd::grad({value}, {logits})[0];
    EXPECT_LT(memory.peak(), 20 * logits.numel() * 4 + 5 * rows * members * members * 8) << members;
    // Relative to log 1000 and a determinant of independent rows: some roundings of 6e-8 each.
    EXPECT_NEAR(value.item<double>(), exact_value.item<double>(),
                1e-6 * std::abs(exact_value.item<double>()));
    EXPECT_LT((gradient - exact_gradient).abs().max().item<double>(),
              1e-5 * exact_gradient.abs().max().item<double>());
  }
}

TEST(Adp, MembersThatAgreeKeepTheirDeterminantInSinglePrecision) {
  // The smallest eigenvalues are 1e-5: in f32 products of 50 equal rows the sign of the determinant
  // would be lost.
  const auto logits = made_logits(1, 4, 100).expand({50, -1, -1}).to(at::kFloat).contiguous();
  const double value = adp(logits, labels(4, 100), {.alpha = 0, .beta = 1}).item<double>();
  EXPECT_NEAR(value, -(std::log(50.0) + 49 * kLogEps), 1e-3);
}
