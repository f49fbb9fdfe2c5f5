#include <cmath>

#include <dissent/scores/shaping.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

using dissent::testing::row;
bool near(const at::Tensor& one, const at::Tensor& other) {
  return at::allclose(one, other, 1e-15, 1e-15);
}

}  // namespace

TEST(Percentile, IsLinearBetweenOrderStatistics) {
  const auto values = at::tensor({30.0, 10.0, 20.0, 40.0}, at::kDouble).view({2, 2});
  EXPECT_EQ(percentile(values, 0), 10);
  EXPECT_EQ(percentile(values, 100), 40);
  EXPECT_NEAR(percentile(values, 50), 25, 1e-15);
  EXPECT_NEAR(percentile(values, 90), 37, 1e-14);
  EXPECT_EQ(percentile(values.to(at::kFloat), 50), 25);
  EXPECT_EQ(percentile(at::tensor({7.0}, at::kDouble), 33), 7);
  EXPECT_EQ(values[0][0].item<double>(), 30);  // not re-ordered
  EXPECT_EQ(percentile(values.t(), 25), percentile(values, 25));
}

TEST(Percentile, AgreesWithQuantileOnManyValues) {
  const auto values = made_logits(1, 100, 97)[0];
  for (const double p : {0.1, 12.5, 50.0, 89.9, 99.0})
    EXPECT_NEAR(percentile(values, p), at::quantile(values.flatten(), p / 100).item<double>(),
                1e-14)
        << p;
}

TEST(Percentile, WrongArgumentsAreErrors) {
  expect_error(ErrorKind::kData, "found 1 of 2 NaN",
               [] { percentile(at::tensor({1.0, std::nan("")}, at::kDouble), 50); });
  expect_error(ErrorKind::kUsage, "percentile: expected a number in 0 .. 100, found 101",
               [] { percentile(at::ones({2}, at::kDouble), 101); });
  expect_error(ErrorKind::kUsage, "values: expected one or more",
               [] { percentile(at::ones({0}, at::kDouble), 50); });
}

TEST(React, OfMembersWithOneThresholdOrTheirOwn) {
  const auto features = at::tensor({1.0, 5.0, /**/ 3.0, 9.0}, at::kDouble).view({2, 1, 2});
  EXPECT_TRUE(
      near(react(features, 4.0), at::tensor({1.0, 4.0, 3.0, 4.0}, at::kDouble).view({2, 1, 2})));
  EXPECT_TRUE(near(react(features, at::tensor({2.0, 4.0}, at::kDouble)),
                   at::tensor({1.0, 2.0, 3.0, 4.0}, at::kDouble).view({2, 1, 2})));
  EXPECT_TRUE(near(react_threshold(features, 50, true), at::tensor({3.0, 6.0}, at::kDouble)));
  EXPECT_TRUE(near(react_threshold(features, 50, false), at::tensor({4.0}, at::kDouble)));
  expect_error(ErrorKind::kUsage, "react: threshold: expected [1] or [2]",
               [&] { react(features, at::ones({3}, at::kDouble)); });
}

TEST(Ash, CountsHalvesToEven) {
  EXPECT_EQ(kept_count(10, 65), 4);  // 6.5 -> 6
  EXPECT_EQ(kept_count(10, 75), 2);  // 7.5 -> 8
  EXPECT_EQ(kept_count(10, 0), 10);
  EXPECT_EQ(kept_count(10, 100), 0);
  expect_error(ErrorKind::kUsage, "percentile: expected a number in 0 .. 100",
               [] { kept_count(10, -1); });
}

TEST(Ash, ClosedForms) {
  const auto h = row({4, 1, 3, 2});  // k = 2 keeps 4 and 3, sum 10
  EXPECT_TRUE(near(ash_p(h, 50), row({4, 0, 3, 0})));
  EXPECT_TRUE(near(ash_b(h, 50), row({5, 0, 5, 0})));
  const double factor = std::exp(10.0 / 7);
  EXPECT_TRUE(near(ash_s(h, 50), row({4 * factor, 0, 3 * factor, 0})));
  EXPECT_TRUE(near(scale(h, 50), h * factor));
  EXPECT_TRUE(near(h, row({4, 1, 3, 2})));
}

TEST(Ash, BSharesTheSumAlsoOntoZeros) {
  EXPECT_TRUE(near(ash_b(row({6, 0, 0, 0}), 50).sum(1), row({6})[0]));
}

TEST(Ash, NothingKeptAndNothingThere) {
  const auto h = row({4, 1, 3, 2}), zero = at::zeros({1, 4}, at::kDouble);
  for (const auto f : {ash_p, ash_b, ash_s}) {
    EXPECT_TRUE(near(f(h, 100), zero));
    EXPECT_TRUE(near(f(zero, 50), zero));
  }
  EXPECT_TRUE(near(scale(h, 100), h));
  EXPECT_TRUE(near(scale(zero, 50), zero));
  EXPECT_TRUE(
      near(scale(row({1, -1, 0, 0}), 0), row({1, -1, 0, 0})));  // the sum is 0, the feature is not
}

TEST(Ash, TheExponentStaysFinite) {
  const auto h = row({1, 1e-30, -1, 1e-300});
  const auto kept = row({-1, -1, -1, -1e-9});  // sum / largest = 3e9
  for (const auto& one : {h, kept})
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      EXPECT_TRUE(scale(one.to(dtype), 75).isfinite().all().item<bool>());
      EXPECT_TRUE(ash_s(one.to(dtype), 75).isfinite().all().item<bool>());
    }
}

TEST(Ash, AnyLeadingDimensions) {
  const auto h = made_logits(3, 4, 10);
  for (const auto f : {ash_p, ash_b, ash_s, scale}) EXPECT_TRUE(near(f(h, 70)[1], f(h[1], 70)));
}

TEST(Vra, ClipsBothEnds) {
  EXPECT_TRUE(near(vra(row({-1, 0.5, 3}), 0, 1), row({0, 0.5, 1})));
  expect_error(ErrorKind::kUsage, "vra: low: expected at most high (0), found 1",
               [] { vra(row({1}), 1, 0); });
}

TEST(HeadLogits, OfOneHeadAndOfMembers) {
  const auto h = made_logits(3, 4, 6), w = made_logits(3, 5, 6, 1.0, 2),
             b = made_logits(1, 3, 5, 1.0, 3)[0];
  const auto all = head_logits(h, w, b);
  EXPECT_EQ(all.sizes(), at::IntArrayRef({3, 4, 5}));
  for (int64_t m = 0; m < 3; ++m)
    EXPECT_LT((all[m] - at::linear(h[m], w[m], b[m])).abs().max().item<double>(), 1e-14);
  EXPECT_LT((head_logits(h[0], w[0], b[0]) - all[0]).abs().max().item<double>(), 1e-14);
  expect_error(ErrorKind::kUsage, "head_logits: weight and bias: expected",
               [&] { head_logits(h, w[0], b[0]); });
  expect_error(ErrorKind::kUsage, "head_logits: weight and bias: expected",
               [&] { head_logits(h[0], w[0], b[0].to(at::kFloat)); });
}
