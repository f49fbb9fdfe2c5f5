#include <dissent/scores/ensemble_scores.hpp>

#include <dissent/losses/a2d.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

constexpr auto kLogits = InputKind::kLogits;
constexpr auto kProbabilities = InputKind::kProbabilities;

// One-hot probabilities [M, 1, C] of the given classes.
at::Tensor votes(std::vector<int64_t> classes, int64_t count) {
  return at::one_hot(at::tensor(classes, at::kLong), count).to(at::kDouble).unsqueeze(1);
}

using dissent::testing::largest;

}  // namespace

TEST(EnsembleScores, VotesInClosedForm) {
  const auto p = votes({0, 0, 2, 3}, 5);
  EXPECT_EQ(pds(p, kProbabilities).item<double>(), 3);
  EXPECT_EQ(different_predictions(p, kProbabilities).item<double>(), 3);
  EXPECT_NEAR(ensemble_entropy(p, kProbabilities).item<double>(), 1.5 * std::log(2.0), 1e-15);
  EXPECT_EQ(average_entropy(p, kProbabilities).item<double>(), 0);  // 0 log 0 = 0
  EXPECT_NEAR(mutual_information(p, kProbabilities).item<double>(), 1.5 * std::log(2.0), 1e-15);
  EXPECT_EQ(mean_member_confidence(p, kProbabilities).item<double>(), 1);
  EXPECT_EQ(msp(p, kProbabilities).item<double>(), 0.5);
  // Ten of the sixteen ordered pairs (m, i), m and i equal included, differ by sqrt(2).
  EXPECT_NEAR(similarity(p, kProbabilities).item<double>(), 10 * std::sqrt(2.0) / 16, 1e-15);
  EXPECT_NEAR(a2d_score(p, kProbabilities).item<double>(),
              (10 * std::log(1 + 1e-9) + 2 * std::log(1e-9)) / 12, 1e-12);
}

TEST(EnsembleScores, LogitsInClosedForm) {
  const auto logits =
      at::tensor({0.0, std::log(3.0), /**/ std::log(2.0), 0.0}, at::kDouble).view({2, 1, 2});
  EXPECT_NEAR(average_energy(logits).item<double>(), -(std::log(4.0) + std::log(3.0)) / 2, 1e-15);
  EXPECT_NEAR(average_max_logit(logits).item<double>(), -(std::log(3.0) + std::log(2.0)) / 2,
              1e-15);
  EXPECT_NEAR(pds(logits, kLogits).item<double>(), 2.0 / 3 + 3.0 / 4, 1e-15);
  EXPECT_NEAR(mean_member_confidence(logits, kLogits).item<double>(), (0.75 + 2.0 / 3) / 2, 1e-15);
  EXPECT_NEAR(msp(logits, kLogits).item<double>(),
              std::sqrt(3.0) / (std::sqrt(3.0) + std::sqrt(2.0)), 1e-15);
}

TEST(EnsembleScores, TheKindIsTakenNotGuessed) {
  const auto p = votes({0, 1}, 3);  // within [0, 1], and yet logits if the caller says so
  EXPECT_EQ(pds(p, kProbabilities).item<double>(), 2);
  const double e = std::exp(1.0);
  EXPECT_NEAR(pds(p, kLogits).item<double>(), (2 * e + 1) / (e + 2), 1e-15);
}

TEST(EnsembleScores, A2dScoreIsMinusTheLossOverAllDraws) {
  const auto logits = made_logits(4, 6, 5);
  auto mean = at::zeros({6}, at::kDouble);
  for (int64_t m = 0; m < 4; ++m) mean += losses::a2d(logits, m) / 4;
  EXPECT_LT(largest(a2d_score(logits, kLogits) + mean), 1e-14);
}

TEST(EnsembleScores, MutualInformationOfASampleDoesNotDependOnItsBatch) {
  const auto logits = made_logits(3, 6, 5);
  const auto whole = mutual_information(logits, kLogits),
             alone = mutual_information(logits.slice(1, 2, 3), kLogits);
  EXPECT_NEAR(whole[2].item<double>(), alone.item<double>(), 1e-15);
  EXPECT_GE(whole.min().item<double>(), 0);
  // The released one does, and has the same mean.
  const auto released = mutual_information(logits, kLogits, MutualInformation::kReleasedBatch);
  EXPECT_GT(std::abs((released[2] - alone).item<double>()), 1e-6);
  EXPECT_NEAR(released.mean().item<double>(), whole.mean().item<double>(), 1e-14);
}

TEST(EnsembleScores, MemberEntropiesAreRowsByMembers) {
  const auto entropies = member_entropies(made_logits(3, 6, 5), kLogits);
  EXPECT_EQ(entropies.sizes(), at::IntArrayRef({6, 3}));
  EXPECT_LT(largest(entropies.mean(1) - average_entropy(made_logits(3, 6, 5), kLogits)), 1e-15);
}

TEST(EnsembleScores, EqualMembersAreAtDistanceExactlyZero) {
  // More than 25 members: cdist's product formula would give distances of 1e-9 here.
  const auto logits = made_logits(1, 3, 7).expand({40, -1, -1});
  EXPECT_EQ(largest(similarity(logits, kLogits)), 0);
}

TEST(EnsembleScores, AnEmptyBatchGivesNoScores) {
  EXPECT_EQ(pds(made_logits(3, 4, 5).slice(1, 0, 0), kLogits).numel(), 0);
  EXPECT_EQ(a2d_score(made_logits(3, 4, 5).slice(1, 0, 0), kLogits).numel(), 0);
}

TEST(EnsembleScores, WrongInputsAreErrors) {
  expect_error(ErrorKind::kUsage, "a2d_score: outputs: expected [M >= 2",
               [] { a2d_score(made_logits(1, 4, 5), kLogits); });
  expect_error(ErrorKind::kUsage, "pds: outputs: expected [M >= 1",
               [] { pds(made_logits(2, 4, 5)[0], kLogits); });
  expect_error(ErrorKind::kUsage, "Long",
               [] { pds(at::zeros({2, 4, 5}, at::kLong), kProbabilities); });
}
