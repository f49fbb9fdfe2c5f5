#include <dissent/losses/logit_norm.hpp>

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
at::Tensor logit_norm_labels() { return at::tensor({0, 2, 1, 4}, at::kLong); }
}  // namespace

TEST(LogitNorm, TwoClassesInClosedForm) {
  // z = (3, 4): z / |z| / tau = (3, 4), with tau 0.2; |z| + 1e-7 is off by 2e-8.
  const auto logits = at::tensor({3.0, 4.0}, at::kDouble).view({1, 1, 2});
  const double margin = (4 - 3) / (1 + 1e-7 / 5);
  EXPECT_NEAR(logit_norm(logits, at::zeros({1}, at::kLong), {.tau = 0.2}).item<double>(),
              std::log1p(std::exp(margin)), 1e-14);
}

TEST(LogitNorm, TheScaleOfTheLogitsDoesNotMatter) {
  const auto logits = made_logits(3, 4, 5);
  const auto one = logit_norm(logits, logit_norm_labels()),
             other = logit_norm(logits * 1000, logit_norm_labels());
  EXPECT_EQ(one.sizes(), at::IntArrayRef({3, 4}));
  EXPECT_LT((one - other).abs().max().item<double>(),
            1e-5);  // 1e-7 / |z| times 1 / tau times the largest z / |z|
}

TEST(LogitNorm, ZeroLogitsGiveLogCAndAFiniteGradient) {
  const auto logits = at::zeros({2, 4, 5}, at::kDouble);
  EXPECT_LT((logit_norm(logits, logit_norm_labels()) - std::log(5.0)).abs().max().item<double>(),
            1e-15);
  EXPECT_TRUE(
      gradient_of([](const at::Tensor& x) { return logit_norm(x, logit_norm_labels()).sum(); },
                  logits)
          .isfinite()
          .all()
          .item<bool>());
}

TEST(LogitNorm, GradientAgreesWithFiniteDifferences) {
  for (const double tau : {0.04, 1.0}) {
    const auto f = [&](const at::Tensor& x) {
      return logit_norm(x, logit_norm_labels(), {tau}).sum();
    };
    // At 0.04 third derivatives are up to 1 / tau^3.
    EXPECT_LT(gradient_error(f, made_logits(2, 4, 5)), tau < 1 ? 1e-5 : kGradientTolerance) << tau;
  }
}

TEST(LogitNorm, MembersAreNotCoupled) {
  const auto logits = made_logits(3, 4, 5);
  const auto whole = logit_norm(logits, logit_norm_labels());
  for (int64_t m = 0; m < 3; ++m)
    EXPECT_LT((whole[m] - logit_norm(logits.slice(0, m, m + 1), logit_norm_labels())[0])
                  .abs()
                  .max()
                  .item<double>(),
              1e-15);
}

TEST(LogitNorm, RefusalsNameArgumentWantedAndGiven) {
  expect_error(ErrorKind::kUsage, "logit_norm: tau: expected a number > 0, found 0",
               [] { logit_norm(made_logits(1, 4, 5), logit_norm_labels(), {0}); });
  expect_error(ErrorKind::kUsage, "logit_norm: labels: expected [3] Long cpu",
               [] { logit_norm(made_logits(1, 3, 5), logit_norm_labels()); });
}

TEST(LogitNorm, SinglePrecisionStaysNearDoubleWithinItsMemory) {
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const auto y = at::arange(rows, at::kLong);
    const auto logits = made_logits(members, rows, 1000).to(at::kFloat).set_requires_grad(true);
    PeakMemory memory;
    const auto value = logit_norm(logits, y);
    const auto gradient = torch::autograd::grad({value.mean()}, {logits})[0];
    EXPECT_LT(memory.peak(), 7.01 * logits.numel() * 4) << members;
    EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    EXPECT_LT((value - logit_norm(logits.to(at::kDouble), y)).abs().max().item<double>(),
              1e-5);  // 7 nats, some roundings of 6e-8 each
  }
}
