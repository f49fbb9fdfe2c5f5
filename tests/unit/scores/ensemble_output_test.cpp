#include <dissent/scores/ensemble_output.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

TEST(EnsembleOutput, WeightsAreNormalisedByL2ThenDividedByMembers) {
  const auto logits = at::tensor({1.0, 2.0, /**/ 10.0, 20.0}, at::kDouble).view({2, 1, 2});
  const auto output = weighted_logits(logits, at::tensor({3.0, 4.0}, at::kDouble));
  EXPECT_NEAR(output[0][0].item<double>(), (0.6 * 1 + 0.8 * 10) / 2, 1e-15);
  EXPECT_NEAR(output[0][1].item<double>(), (0.6 * 2 + 0.8 * 20) / 2, 1e-15);
  expect_error(ErrorKind::kUsage, "L2 norm above 0",
               [&] { weighted_logits(logits, at::zeros({2}, at::kDouble)); });
  expect_error(ErrorKind::kUsage, "weights: expected [2] Double cpu, found [3]",
               [&] { weighted_logits(logits, at::ones({3}, at::kDouble)); });
}

TEST(EnsembleOutput, MeanOfProbabilitiesIsNotSoftmaxOfMeanLogits) {
  const auto logits = made_logits(3, 4, 5, 3);
  EXPECT_LT((mean_probabilities(logits).sum(-1) - 1).abs().max().item<double>(), 1e-15);
  EXPECT_GT((mean_probabilities(logits) - at::softmax(mean_logits(logits), -1))
                .abs()
                .max()
                .item<double>(),
            1e-2);
}

TEST(EnsembleOutput, ProductOfExpertsPredictsAsTheMeanLogit) {
  const auto logits = made_logits(3, 40, 5);
  EXPECT_TRUE(at::equal(product_of_experts(logits).argmax(-1), mean_logits(logits).argmax(-1)));
  EXPECT_LT((at::softmax(product_of_experts(logits), -1) - at::softmax(logits.sum(0), -1))
                .abs()
                .max()
                .item<double>(),
            1e-14);
}

TEST(EnsembleOutput, SoupOfOneMemberIsTheMember) {
  const auto weights = made_logits(1, 4, 5);
  EXPECT_TRUE(at::equal(uniform_soup(weights), weights[0]));
  EXPECT_TRUE(at::equal(uniform_soup(at::tensor({1.0, 3.0}, at::kDouble)),
                        at::scalar_tensor(2.0, at::kDouble)));
  expect_error(ErrorKind::kUsage, "stacked", [] { uniform_soup(at::zeros({0, 3}, at::kDouble)); });
}
