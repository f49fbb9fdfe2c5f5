#include <vector>

#include <dissent/scores/class_subset.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {
at::Tensor bools(std::vector<int64_t> values) { return at::tensor(values, at::kLong).ne(0); }
}  // namespace

TEST(ClassSubset, AMemberVotesForItsBestClassOfAllAndAbstainsOutside) {
  const auto logits =
      at::tensor({5.0, 1.0, 0.0, 4.0, /**/ 0.0, 9.0, 0.0, 8.0}, at::kDouble).view({2, 1, 4});
  const auto votes = votes_in_subset(
      logits, bools({1, 0, 0, 1}));  // classes 0 and 3 stay; member 1 prefers class 1, outside
  EXPECT_TRUE(at::equal(votes, at::tensor({1.0, 0.0, /**/ 0.0, 0.0}, at::kDouble).view({2, 1, 2})));
  EXPECT_TRUE(at::equal(subset_predictions(votes), at::tensor({0, -1}, at::kLong).view({2, 1})));
  EXPECT_EQ(subset_predictions(votes.mean(0)).item<int64_t>(), 0);
  EXPECT_EQ(subset_confidence(votes.mean(0)).item<double>(), 0.5);
}

TEST(ClassSubset, TiesGoToTheLowestClassAndNoVoteIsMinusOne) {
  const auto rows = at::tensor({0.4, 0.2, 0.4, /**/ 0.0, 0.0, 0.0}, at::kDouble).view({2, 3});
  EXPECT_TRUE(at::equal(subset_predictions(rows), at::tensor({0, -1}, at::kLong)));
  EXPECT_EQ(subset_confidence(rows)[1].item<double>(), 0);
}

TEST(ClassSubset, CategoriesAreMeansNotSums) {
  const auto p = at::tensor({0.1, 0.2, 0.3, 0.4}, at::kDouble).view({1, 1, 4});
  const auto categories =
      category_mask(at::tensor({1, 0, 1, -1}, at::kLong), 2);  // class 3 in none
  const auto means = category_means(p, InputKind::kProbabilities, categories);
  EXPECT_NEAR(means[0][0][0].item<double>(), 0.2, 1e-15);
  EXPECT_NEAR(means[0][0][1].item<double>(), (0.1 + 0.3) / 2, 1e-15);
}

TEST(ClassSubset, LogitsAreTurnedIntoProbabilitiesOverAllClassesFirst) {
  const auto logits = made_logits(2, 3, 4);
  const auto categories = bools({1, 1, 0, 0, 0, 0, 1, 0}).view({2, 4});
  const auto expected =
      category_means(at::softmax(logits, -1), InputKind::kProbabilities, categories);
  EXPECT_TRUE(at::equal(category_means(logits, InputKind::kLogits, categories), expected));
}

TEST(ClassSubset, WrongMasksAreErrors) {
  const auto logits = made_logits(2, 3, 4);
  expect_error(ErrorKind::kUsage, "mask: expected [4] Bool cpu, found [3]",
               [&] { votes_in_subset(logits, bools({1, 0, 1})); });
  expect_error(ErrorKind::kUsage, "at least one class",
               [&] { votes_in_subset(logits, bools({0, 0, 0, 0})); });
  expect_error(ErrorKind::kUsage, "found 1 without any", [&] {
    category_means(logits, InputKind::kLogits,
                   category_mask(at::tensor({0, 0, 0, 0}, at::kLong), 2));
  });
  expect_error(ErrorKind::kUsage, "expected class numbers -1 .. 1, found 0 .. 2",
               [] { category_mask(at::tensor({0, 2}, at::kLong), 2); });
}
