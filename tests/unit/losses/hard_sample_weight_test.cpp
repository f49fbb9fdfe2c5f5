#include <dissent/losses/hard_sample_weight.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {
at::Tensor hard_labels() { return at::tensor({0, 2, 1, 4}, at::kLong); }
}  // namespace

TEST(HardSampleWeight, IsCrossEntropyOfTheMeanLogitOverItsSquaredBatchMean) {
  const auto logits = made_logits(3, 4, 5);
  const auto hardness =
      -at::log_softmax(logits.mean(0), -1).gather(1, hard_labels().unsqueeze(1)).squeeze(1);
  const auto weight = hard_sample_weight(logits, hard_labels());
  EXPECT_LT((weight - hardness / hardness.mean().square()).abs().max().item<double>(), 1e-14);
  EXPECT_NEAR(weight.mean().item<double>(), 1 / hardness.mean().item<double>(), 1e-14);
}

TEST(HardSampleWeight, HasNoGradient) {
  const auto logits = made_logits(3, 4, 5).set_requires_grad(true);
  EXPECT_FALSE(hard_sample_weight(logits, hard_labels()).requires_grad());
}

TEST(HardSampleWeight, OneSampleGivesTheInverse) {
  const auto logits = made_logits(2, 1, 5);
  const auto label = at::zeros({1}, at::kLong);
  const double hardness = ensemble_cross_entropy(logits, label).item<double>();
  EXPECT_NEAR(hard_sample_weight(logits, label).item<double>() * hardness, 1, 1e-14);
}

TEST(HardSampleWeight, CertainAndRightEverywhereGivesOnes) {
  const auto logits = at::one_hot(hard_labels(), 5).to(at::kDouble).mul(1e4).unsqueeze(0);
  EXPECT_TRUE(at::equal(hard_sample_weight(logits, hard_labels()), at::ones({4}, at::kDouble)));
  // One hard sample among them: the others weigh 0.
  const auto wrong = hard_sample_weight(logits, at::tensor({0, 2, 1, 3}, at::kLong));
  EXPECT_EQ(wrong[0].item<double>(), 0);
  EXPECT_NEAR(wrong[3].item<double>(), 1e4 / (2.5e3 * 2.5e3), 1e-15);
}

TEST(HardSampleWeight, SmallHardnessDoesNotOverflowInSinglePrecision) {
  // A mean of 1e-25 has a square below the smallest float.
  const auto hardness = at::tensor({1e-25f, 2e-25f}, at::kFloat);
  EXPECT_TRUE(hard_sample_weight_from(hardness, hardness.mean()).isfinite().all().item<bool>());
}

TEST(HardSampleWeight, HalvesOfABatchWithItsMeanGiveTheWholeBatchsWeights) {
  const auto logits = made_logits(3, 4, 5);
  const auto whole = hard_sample_weight(logits, hard_labels());
  const auto first = ensemble_cross_entropy(logits.slice(1, 0, 2), hard_labels().slice(0, 0, 2));
  const auto second = ensemble_cross_entropy(logits.slice(1, 2, 4), hard_labels().slice(0, 2, 4));
  const auto mean = (first.sum() + second.sum()) / 4;
  EXPECT_LT(
      (at::cat({hard_sample_weight_from(first, mean), hard_sample_weight_from(second, mean)}) -
       whole)
          .abs()
          .max()
          .item<double>(),
      1e-14);
}
