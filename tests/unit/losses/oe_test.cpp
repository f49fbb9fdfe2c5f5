#include <dissent/losses/oe.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "unit/losses/peak_memory.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

TEST(Oe, EqualLogitsGiveLogC) {
  EXPECT_NEAR(oe(at::full({2, 3, 5}, 7.0, at::kDouble)).item<double>(), std::log(5.0), 1e-15);
}

TEST(Oe, ACertainMemberPaysItsMargin) {
  // p exactly (1, 0): the loss is the distance to the mean logit.
  const auto logits = at::tensor({2000.0, 0.0}, at::kDouble).view({1, 1, 2});
  EXPECT_NEAR(oe(logits).item<double>(), 1000, 1e-12);
  const auto gradient = gradient_of([](const at::Tensor& x) { return oe(x); }, logits);
  EXPECT_TRUE(at::equal(gradient.flatten(), at::tensor({0.5, -0.5}, at::kDouble)));
}

TEST(Oe, IsTheCrossEntropyToTheUniformDistribution) {
  const auto logits = made_logits(3, 4, 5);
  EXPECT_NEAR(oe(logits).item<double>(), -at::log_softmax(logits, -1).mean().item<double>(), 1e-15);
}

TEST(Oe, GradientAgreesWithFiniteDifferences) {
  EXPECT_LT(gradient_error([](const at::Tensor& x) { return oe(x); }, made_logits(3, 4, 5)),
            kGradientTolerance);
}

TEST(Oe, MembersAreNotCoupled) {
  const auto logits = made_logits(4, 6, 5);
  double sum = 0;
  for (int64_t m = 0; m < 4; ++m) sum += oe(logits.slice(0, m, m + 1)).item<double>();
  EXPECT_NEAR(oe(logits).item<double>(), sum / 4, 1e-15);
}

TEST(Oe, WrongShapesAreAnError) {
  expect_error(ErrorKind::kUsage, "oe: logits: expected [M >= 1, B >= 1, C >= 1]",
               [] { oe(made_logits(2, 3, 4)[0]); });
}

TEST(Oe, SinglePrecisionStaysNearDoubleWithinItsMemory) {
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const auto logits = made_logits(members, rows, 1000).to(at::kFloat).set_requires_grad(true);
    PeakMemory memory;
    const auto value = oe(logits);
    const auto gradient = torch::autograd::grad({value}, {logits})[0];
    EXPECT_LT(memory.peak(), 3.01 * logits.numel() * 4) << members;
    EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    EXPECT_NEAR(value.item<double>(), oe(logits.to(at::kDouble)).item<double>(),
                5e-6);  // a few roundings of 6e-8 of log 1000 + 1
  }
}
