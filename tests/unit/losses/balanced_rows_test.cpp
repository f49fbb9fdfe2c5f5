#include <dissent/losses/balanced_rows.hpp>

#include <map>
#include <set>

#include "expect_error.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

// 60 rows: class 0 has 30, class 1 none, class 2 20, class 3 10.
at::Tensor unbalanced_labels() {
  auto values = at::zeros({60}, at::kLong);
  values.slice(0, 30, 50).fill_(2);
  values.slice(0, 50, 60).fill_(3);
  return values.view({6, 10}).t().contiguous().view({60});
}

}  // namespace

TEST(BalancedRows, RowsOfClassesArePartedByLabel) {
  const auto rows = rows_of_classes(at::tensor({2, 0, 2, 2, 0}, at::kLong));
  EXPECT_EQ(rows, (std::vector<std::vector<int64_t>>{{1, 4}, {}, {0, 2, 3}}));
  expect_error(ErrorKind::kUsage, "labels: expected class numbers from 0, found -1",
               [] { rows_of_classes(at::tensor({1, -1}, at::kLong)); });
  expect_error(ErrorKind::kUsage, "labels: expected [N >= 1] Long cpu, found [0] Long cpu",
               [] { rows_of_classes(at::zeros({0}, at::kLong)); });
}

TEST(BalancedRows, EachClassOfABatchHasTheSameNumberOfSamples) {
  const auto y = unbalanced_labels();
  const auto rows = rows_of_classes(y);
  for (int64_t step = 0; step < 50; ++step) {
    const auto batch = balanced_rows(rows, 8, 4, 11, 2, step);
    ASSERT_EQ(batch.size(), 8u);
    std::set<int64_t> classes;
    for (int64_t group = 0; group < 2; ++group) {
      const int64_t c = y[batch[group * 4]].item<int64_t>();
      classes.insert(c);
      for (int64_t i = 1; i < 4; ++i) EXPECT_EQ(y[batch[group * 4 + i]].item<int64_t>(), c);
    }
    EXPECT_EQ(classes.size(), 2u) << "a class was drawn twice";
  }
}

TEST(BalancedRows, ClassesComeByTheirFrequencyAndRowsEvenly) {
  const auto y = unbalanced_labels();
  const auto rows = rows_of_classes(y);
  std::map<int64_t, int64_t> classes;
  std::vector<int64_t> drawn(60);
  const int64_t steps = 6000;
  for (int64_t step = 0; step < steps; ++step)
    for (const int64_t row : balanced_rows(rows, 4, 4, 3, 0, step)) {
      ++drawn[row];
      ++classes[y[row].item<int64_t>()];
    }
  // One class a step: 1/2, 1/3, 1/6 of the steps, within four deviations of a binomial of 6,000.
  EXPECT_NEAR(static_cast<double>(classes[0]) / (4.0 * steps), 1.0 / 2, 0.026);
  EXPECT_NEAR(static_cast<double>(classes[2]) / (4.0 * steps), 1.0 / 3, 0.025);
  EXPECT_NEAR(static_cast<double>(classes[3]) / (4.0 * steps), 1.0 / 6, 0.02);
  // So every row comes 400 times; six deviations of 20.
  for (const int64_t times : drawn) EXPECT_NEAR(static_cast<double>(times), 400, 120);
}

TEST(BalancedRows, IsAPureFunctionOfSeedEpochAndStep) {
  const auto rows = rows_of_classes(unbalanced_labels());
  const auto once = balanced_rows(rows, 6, 2, 1, 0, 0);
  EXPECT_EQ(once, balanced_rows(rows, 6, 2, 1, 0, 0));
  EXPECT_NE(once, balanced_rows(rows, 6, 2, 2, 0, 0));
  EXPECT_NE(once, balanced_rows(rows, 6, 2, 1, 1, 0));
  EXPECT_NE(once, balanced_rows(rows, 6, 2, 1, 0, 1));
}

TEST(BalancedRows, RefusalsNameArgumentWantedAndGiven) {
  const auto rows = rows_of_classes(unbalanced_labels());
  expect_error(ErrorKind::kUsage,
               "batch_size: expected a positive multiple of samples_per_class (4), found 6",
               [&] { balanced_rows(rows, 6, 4, 0, 0, 0); });
  expect_error(ErrorKind::kUsage, "batch_size: expected at most 3 classes of 4 samples, found 16",
               [&] { balanced_rows(rows, 16, 4, 0, 0, 0); });
}
