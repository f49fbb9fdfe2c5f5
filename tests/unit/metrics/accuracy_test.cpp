#include <dissent/metrics/accuracy.hpp>
#include <dissent/metrics/mean_std.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::metrics;
using dissent::testing::expect_error;

namespace {
using dissent::testing::longs;
}  // namespace

TEST(Accuracy, CountsAndNeverTakesMinusOneForRight) {
  Accuracy accuracy;
  accuracy.update(longs({1, 2, -1, 3}), longs({1, 0, -1, 3}));
  EXPECT_EQ(accuracy.right(), 2);
  EXPECT_EQ(accuracy.finish(), 0.5);
}

TEST(Accuracy, SeveralLabelsAnyOfThemIsRight) {
  Accuracy accuracy;
  accuracy.update(longs({4, 2, -1}),
                  longs({3, 4, -1, /**/ 3, -1, -1, /**/ 1, -1, -1}).view({3, 3}));
  EXPECT_EQ(accuracy.right(), 1);
}

TEST(Accuracy, MergedPartsAreTheWhole) {
  Accuracy whole, first, second;
  whole.update(longs({1, 2, 3}), longs({1, 2, 0}));
  first.update(longs({1}), longs({1}));
  second.update(longs({2, 3}), longs({2, 0}));
  first.merge(Accuracy::from_state(second.state()));
  EXPECT_TRUE(at::equal(first.state(), whole.state()));
  EXPECT_EQ(first.finish(), whole.finish());
}

TEST(Accuracy, NoSampleIsAnErrorNotNan) {
  expect_error(ErrorKind::kData, "expected at least one sample", [] { Accuracy().finish(); });
}

TEST(Accuracy, WrongInputsAreErrors) {
  Accuracy accuracy;
  expect_error(ErrorKind::kUsage, "labels: expected [2] or [2, K] Long cpu, found [3]",
               [&] { accuracy.update(longs({1, 2}), longs({1, 2, 3})); });
  expect_error(ErrorKind::kUsage, "predictions: expected [N] Long",
               [&] { accuracy.update(at::zeros({2}), longs({1, 2})); });
}

TEST(TopK, GrowsWithKToEverythingRight) {
  const auto logits = at::tensor({3.0, 2.0, 1.0, /**/ 1.0, 2.0, 3.0}, at::kDouble).view({2, 3});
  const auto labels = longs({1, 2});
  EXPECT_TRUE(at::equal(right_in_top_k(logits, labels, 1), longs({0, 1}).ne(0)));
  EXPECT_TRUE(right_in_top_k(logits, labels, 2).all().item<bool>());
  EXPECT_TRUE(right_in_top_k(logits, labels, 9).all().item<bool>());
  expect_error(ErrorKind::kUsage, "k: expected 1 or more, found 0",
               [&] { right_in_top_k(logits, labels, 0); });
}

TEST(MeanStd, DividesByTheCount) {
  const auto [mean, std] = mean_std({1, 3});
  EXPECT_EQ(mean, 2);
  EXPECT_EQ(std, 1);
  EXPECT_TRUE(std::isnan(mean_std({}).mean));
}
