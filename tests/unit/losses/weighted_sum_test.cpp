#include "losses/weighted_sum.hpp"

#include <dissent/losses/adp.hpp>

#include "expect_error.hpp"
#include "unit/losses/made_losses.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {
double number(const at::Tensor& scalar) { return scalar.item<double>(); }
}  // namespace

TEST(WeightedSum, BaseLossesReadTheirBatchAndTheOthersTheCommonOne) {
  const MadeEnsemble made;
  const auto base = made.input({0, 1, 2}, 0, 3), common = made.input({0, 1, 2}, 3, 3);
  const AdpOptions adp{.alpha = 1, .beta = 0.25};
  const auto sum = weighted_sum({{"cross_entropy", {.weight = 0.5}, {}},
                                 {"adp", {.weight = 0.1}, adp},
                                 {"oe", {.weight = 2}, {}}},
                                base, common, 0, 0);
  ASSERT_EQ(sum.values.size(), 3u);
  const double expected[] = {number(evaluate("cross_entropy", base)),
                             number(evaluate("adp", common, adp)), number(evaluate("oe", common))};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(number(sum.values[i].value), expected[i]);
  EXPECT_NEAR(number(sum.total), 0.5 * expected[0] + 0.1 * expected[1] + 2 * expected[2], 1e-14);
  EXPECT_TRUE(sum.total.requires_grad());
  EXPECT_FALSE(sum.values[0].value.requires_grad());
}

TEST(WeightedSum, TermsThatAreOffAreNotComputed) {
  const MadeEnsemble made;
  const auto input = made.input({0, 1, 2});
  LossInput no_features = input;
  no_features.features = at::Tensor();
  const std::vector<LossTerm> terms = {{"cross_entropy", {}, {}},
                                       {"dice", {.from_epoch = 2, .ramp_epochs = 4}, {}}};
  EXPECT_EQ(weighted_sum(terms, no_features, no_features, 1, 0).values.size(), 1u);
  EXPECT_EQ(weighted_sum(terms, no_features, no_features, 2, 0).values.size(),
            1u);  // the ramp begins with 0
  expect_error(ErrorKind::kUsage, "dice: features: expected it, found nothing",
               [&] { weighted_sum(terms, no_features, no_features, 3, 0); });
  const std::vector<LossTerm> ramping = {{"ncl", {.weight = 2, .ramp_epochs = 4}, {}}};
  const auto sum = weighted_sum(ramping, input, input, 3, 0);
  EXPECT_EQ(sum.values[0].weight, 1.5);
  EXPECT_NEAR(number(sum.total), 1.5 * number(evaluate("ncl", input)), 1e-15);
}

TEST(WeightedSum, NoTermGivesZero) {
  const MadeEnsemble made;
  const auto input = made.input({0, 1}, 0, 2, at::kFloat);
  const auto sum = weighted_sum({{"ncl", {.weight = 0}, {}}}, input, {}, 0, 0);
  EXPECT_EQ(number(sum.total), 0);
  EXPECT_EQ(sum.total.scalar_type(), at::kFloat);
  expect_error(ErrorKind::kUsage, "weighted_sum: terms: expected one that is on",
               [] { weighted_sum({}, {}, {}, 0, 0); });
}

TEST(PredictedLabels, AreThoseOfTheMeanLogit) {
  // The members vote 1 and 2; the mean logit says 0.
  const auto logits =
      at::tensor({3.0, 4.0, -9.0, /**/ 3.0, -9.0, 4.0}, at::kDouble).view({2, 1, 3});
  EXPECT_EQ(predicted_labels(logits).item<int64_t>(), 0);
  EXPECT_EQ(predicted_labels(at::zeros({2, 1, 3}, at::kDouble)).item<int64_t>(), 0);
}
