#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/cross_entropy.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {
at::Tensor point() { return made_logits(2, 3, 4).set_requires_grad(true); }
}  // namespace

TEST(AdversarialInputs, MovesEachInputByEpsilonUphill) {
  const auto x = point();
  const auto slope = at::tensor({1.0, -2.0, 0.0, 3.0}, at::kDouble);
  const auto moved = adversarial_inputs((x * slope).mean(), x, 0.25);
  EXPECT_TRUE(at::equal(moved, x.detach() + 0.25 * slope.sign()));
  EXPECT_FALSE(moved.requires_grad());
  EXPECT_FALSE(x.grad().defined());
}

TEST(AdversarialInputs, RaisesTheLossAndKeepsItsGraph) {
  const auto x = point();
  const auto labels = at::tensor({1, 0, 3}, at::kLong);
  const auto loss = cross_entropy(x, labels).mean();
  const auto moved = adversarial_inputs(loss, x, 0.1);
  EXPECT_GT(cross_entropy(moved, labels).mean().item<double>(), loss.item<double>());
  EXPECT_TRUE(torch::autograd::grad({loss}, {x})[0].isfinite().all().item<bool>());
}

TEST(AdversarialInputs, EpsilonZeroMovesNothing) {
  const auto x = point();
  EXPECT_TRUE(at::equal(adversarial_inputs(x.square().sum(), x, 0), x));
}

TEST(AdversarialInputs, RefusalsNameArgumentWantedAndGiven) {
  const auto x = point(), other = point();
  expect_error(ErrorKind::kUsage,
               "inputs: expected a floating-point tensor that requires a gradient, found [2, 3, 4] "
               "Double cpu without one",
               [&] { adversarial_inputs(x.sum(), x.detach(), 0.1); });
  expect_error(ErrorKind::kUsage,
               "loss: expected a scalar computed from the inputs, found [2, 3, 4] Double cpu",
               [&] { adversarial_inputs(x * 2, x, 0.1); });
  expect_error(ErrorKind::kUsage, "loss: expected one that depends on the inputs",
               [&] { adversarial_inputs(other.sum(), x, 0.1); });
  expect_error(ErrorKind::kUsage, "epsilon: expected a number in 0 ..",
               [&] { adversarial_inputs(x.sum(), x, -0.1); });
}
