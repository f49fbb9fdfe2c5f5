#include <cmath>
#include <utility>
#include <vector>

#include "data/datasets/synthetic.hpp"

#include <dissent/error.hpp>

#include <gtest/gtest.h>

#include "data/feature_source.hpp"

using namespace dissent;

namespace {

SyntheticOptions options() {
  return {.seed = 7, .rows = 5000, .dim = 33, .classes = 10, .test = false};
}

}  // namespace

TEST(Synthetic, PartsEqualTheWhole) {
  const SyntheticSet set(options());
  const auto whole = set.features(1, 0, 5000), labels = set.labels(0, 5000);
  for (const auto& [first, count] :
       {std::pair<int64_t, int64_t>{0, 1}, {1023, 1500}, {4999, 1}, {12, 0}}) {
    EXPECT_TRUE(at::equal(set.features(1, first, count), whole.narrow(0, first, count)));
    EXPECT_TRUE(at::equal(set.labels(first, count), labels.narrow(0, first, count)));
  }
}

TEST(Synthetic, PassesAndSplitsHaveOtherRowsOfTheSameClasses) {
  const SyntheticSet train(options());
  auto test_options = options();
  test_options.test = true;
  const SyntheticSet test(test_options);
  EXPECT_FALSE(at::equal(train.features(0, 0, 100), train.features(1, 0, 100)));
  EXPECT_FALSE(at::equal(train.features(0, 0, 100), test.features(0, 0, 100)));
  EXPECT_FALSE(at::equal(train.labels(0, 100), test.labels(0, 100)));
  const auto mean = [](const SyntheticSet& set) {
    return set.features(0, 0, 5000).index({set.labels(0, 5000) == 3}).mean(0);
  };
  EXPECT_LT((mean(train) - mean(test)).abs().max().item<double>(), 6 * std::sqrt(2.0 / 450));
}

// Of 165,000 values: mean of z 0, variance 1, fourth moment 3, each within 6 of its own deviations;
// classes even within 6 of theirs.
TEST(Synthetic, NormalAroundTheMeansOfEvenClasses) {
  const SyntheticSet set(options());
  const auto x = set.features(0, 0, 5000).to(at::kDouble), labels = set.labels(0, 5000);
  auto noise = x.clone();
  for (int64_t c = 0; c < 10; ++c) {
    const auto rows = (labels == c).nonzero().squeeze(1);
    EXPECT_NEAR(static_cast<double>(rows.size(0)), 500, 6 * std::sqrt(500 * 0.9));
    noise.index_put_({rows}, x.index_select(0, rows) - x.index_select(0, rows).mean(0));
  }
  const double values = 165000;
  EXPECT_NEAR(noise.pow(2).mean().item<double>(), 1 - 10.0 / 5000, 6 * std::sqrt(2 / values));
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3, 6 * std::sqrt(96 / values));
  EXPECT_LT(x.abs().max().item<double>(), 8);
}

// The nearest class mean, estimated on one half, is right for most of the other: something to
// learn, and not everything.
TEST(Synthetic, ClassesCanBeToldApart) {
  const SyntheticSet set(options());
  const auto x = set.features(0, 0, 5000), labels = set.labels(0, 5000);
  std::vector<at::Tensor> means;
  for (int64_t c = 0; c < 10; ++c)
    means.push_back(x.narrow(0, 0, 2500).index({labels.narrow(0, 0, 2500) == c}).mean(0));
  const auto distances = at::cdist(x.narrow(0, 2500, 2500), at::stack(means));
  const double right =
      distances.argmin(1).eq(labels.narrow(0, 2500, 2500)).to(at::kDouble).mean().item<double>();
  EXPECT_GT(right, 0.7);
  EXPECT_LT(right, 0.99);
}

TEST(Synthetic, GoesWithTrunkNoneAndImagesDoNot) {
  ImageDataOptions data;
  data.dataset = "synthetic";
  EXPECT_THROW(open_source(data, "pixels"), Error);
  EXPECT_EQ(open_source(data, "none").dim, 768);
  data.dataset = "mnist";
  EXPECT_THROW(open_source(data, "none"), Error);
}
