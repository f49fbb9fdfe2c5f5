#include <dissent/losses/kl_backward.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

TEST(KlBackward, ClosedForm) {
  // One member, one sample: t = (1/4, 3/4) against s = (1/2, 1/2).
  const auto logits = at::tensor({0.0, std::log(3.0)}, at::kDouble).view({1, 1, 2});
  const double expected = 0.25 * std::log(0.5) + 0.75 * std::log(1.5);
  EXPECT_NEAR(kl_backward(logits, at::full({2}, 0.5, at::kDouble)).item<double>(), expected, 1e-15);
}

TEST(KlBackward, IsZeroOnlyForTheSameMeanOfEachMember) {
  const auto logits = made_logits(1, 6, 5);
  EXPECT_NEAR(kl_backward(logits, mean_prediction(logits)).item<double>(), 0, 1e-15);
  const auto two = made_logits(2, 6, 5);
  EXPECT_GT(kl_backward(two, mean_prediction(two)).item<double>(), 1e-3);
}

TEST(KlBackward, GradientAgreesWithFiniteDifferences) {
  const auto source = mean_prediction(made_logits(3, 7, 5, 1.5, 3));
  EXPECT_LT(gradient_error([&](const at::Tensor& x) { return kl_backward(x, source); },
                           made_logits(3, 4, 5)),
            kGradientTolerance);
}

TEST(KlBackward, NoGradientReachesTheSource) {
  const auto source = made_logits(2, 4, 5).set_requires_grad(true);
  EXPECT_FALSE(mean_prediction(source).requires_grad());
}

TEST(KlBackward, ClassesThatNeverOccurStayFinite) {
  const auto logits = at::tensor({0.0, 2000.0}, at::kDouble).view({1, 1, 2});  // t = (0, 1)
  const auto source = at::tensor({1.0, 0.0}, at::kDouble);
  const auto f = [&](const at::Tensor& x) { return kl_backward(x, source); };
  EXPECT_GT(f(logits).item<double>(), 700);
  EXPECT_TRUE(std::isfinite(f(logits).item<double>()));
  EXPECT_TRUE(gradient_of(f, logits).isfinite().all().item<bool>());
}

TEST(KlBackward, ASourceOfAnotherLengthIsAnError) {
  expect_error(ErrorKind::kUsage, "source_mean: expected [5] Double cpu, found [4] Double cpu",
               [] { kl_backward(made_logits(2, 4, 5), at::full({4}, 0.25, at::kDouble)); });
}
