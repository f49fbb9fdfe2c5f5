#include "core/random.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

using namespace dissent;

TEST(Random, SameKeySameNumbersOtherKeyOthers) {
  Random a(42, Purpose::kOrder, 1), b(42, Purpose::kOrder, 1), c(42, Purpose::kOrder, 2),
      d(42, Purpose::kActive, 1), e(43, Purpose::kOrder, 1);
  const auto first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
  EXPECT_NE(first, d.next());
  EXPECT_NE(first, e.next());
}

// Checkpoints and papers depend on these draws: a change of the generator must show.
TEST(Random, DrawsArePinned) {
  Random random(42, Purpose::kActive, 3, 7);
  EXPECT_EQ(random.choose(50, 2), (std::vector<int64_t>{0, 19}));
}

TEST(Random, PermutationHoldsEveryRowOnce) {
  const auto order = Random(1, Purpose::kOrder, 5).permutation(10007);
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 10007u);
  EXPECT_NE(order[0] * 3 + order[1] * 5 + order[2], 0 * 3 + 1 * 5 + 2);
}

TEST(Random, ChooseIsUniform) {
  std::vector<int> hits(10, 0);
  const int draws = 20000;
  for (int step = 0; step < draws; ++step)
    for (const auto member : Random(9, Purpose::kActive, 0, step).choose(10, 3)) ++hits[member];
  // Binomial(20000, 0.3): deviation 65, so 6 deviations are 390.
  for (const int count : hits) EXPECT_NEAR(count, draws * 0.3, 390);
}

TEST(Random, TruncatedNormalHasItsMoments) {
  auto values = at::empty({200000}, at::kDouble);
  fill_truncated_normal(values, 0.02, Random(3, Purpose::kWeights, 1));
  EXPECT_NEAR(values.mean().item<double>(), 0.0, 6 * 0.02 / std::sqrt(200000.0));
  EXPECT_NEAR(values.std().item<double>(), 0.02, 6 * 0.02 / std::sqrt(2 * 200000.0));
  EXPECT_TRUE(values.isfinite().all().item<bool>());
}

// 2^26 draws of f32 hold about two that round to 1 or -1: they are the largest finite quantile (5.3
// deviations), not the truncation at 2.
TEST(Random, TruncatedNormalHasNoOutliersInSinglePrecision) {
  auto values = at::empty({int64_t{1} << 26}, at::kFloat);
  fill_truncated_normal(values, 0.02, Random(3, Purpose::kWeights, 1));
  const double largest = values.abs().max().item<double>();
  EXPECT_GT(largest, 5 * 0.02);
  EXPECT_LT(largest, 5.5 * 0.02);
}
