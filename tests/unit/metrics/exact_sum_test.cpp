#include <dissent/metrics/exact_sum.hpp>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include "expect_error.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::metrics;
using dissent::testing::expect_error;

namespace {

using dissent::testing::kInfinity;

double sum_of(std::initializer_list<double> values) {
  ExactSum sum;
  for (const double value : values) sum.add(value);
  return sum.finish();
}

}  // namespace

TEST(ExactSum, RoundsNothingThatFloatingPointWould) {
  EXPECT_EQ(sum_of({1e15, 0.125, -1e15}), 0.125);
  EXPECT_EQ(sum_of({1, 0x1p-60, -1}), 0x1p-60);
  EXPECT_EQ(sum_of({-0.5, -0.25}), -0.75);
  EXPECT_EQ(sum_of({0x1p-64, -0x1p-64}), 0);
  EXPECT_EQ(sum_of({-1e-30}), 0);  // below the unit
  EXPECT_EQ(sum_of({}), 0);
}

TEST(ExactSum, AnyOrderAndSplitGivesTheSameBits) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{5});
  const auto values =
      at::randn({1000}, generator, at::kDouble) * at::randn({1000}, generator, at::kDouble).exp();
  ExactSum whole;
  whole.add(values);
  EXPECT_NEAR(whole.finish(), values.sum().item<double>(),
              1000 * 2.3e-16 * values.abs().sum().item<double>());
  auto words = std::vector<int64_t>(ExactSum::kWords, 0);
  for (const int64_t part : {3, 1, 0, 2}) {
    ExactSum piece;
    piece.add(values.narrow(0, part * 250, 250).flip(0));
    std::vector<int64_t> own(ExactSum::kWords);
    piece.write(own.data());
    for (int64_t i = 0; i < ExactSum::kWords; ++i) words[i] += own[i];
  }
  EXPECT_EQ(ExactSum::read(words.data()).finish(), whole.finish());
}

TEST(ExactSum, NanAndInfinityComeOutAsAdditionHasThem) {
  EXPECT_EQ(sum_of({1, kInfinity}), kInfinity);
  EXPECT_EQ(sum_of({-kInfinity, 5}), -kInfinity);
  EXPECT_TRUE(std::isnan(sum_of({kInfinity, -kInfinity})));
  EXPECT_TRUE(std::isnan(sum_of({std::nan(""), kInfinity})));
}

TEST(ExactSum, WhatDoesNotFitIsAnError) {
  expect_error(ErrorKind::kData, "below 2^62", [] { sum_of({1e300}); });
  expect_error(ErrorKind::kData, "below 2^63", [] { sum_of({0x1p61, 0x1p61, 0x1p61, 0x1p61}); });
  expect_error(ErrorKind::kUsage, "expected f32 or f64",
               [] { ExactSum().add(at::zeros({2}, at::kLong)); });
}

TEST(ExactMean, MergedStatesAreTheWhole) {
  const auto values = at::arange(10, at::kDouble) / 7;
  ExactMean whole, first, second;
  whole.update(values);
  first.update(values.narrow(0, 0, 3));
  second.update(values.narrow(0, 3, 7).to(at::kDouble));
  EXPECT_EQ(ExactMean::from_state(first.state() + second.state()).finish(), whole.finish());
  first.merge(second);
  EXPECT_EQ(first.finish(), whole.finish());
  EXPECT_DOUBLE_EQ(whole.finish(), 4.5 / 7);
  expect_error(ErrorKind::kData, "expected at least one sample", [] { ExactMean().finish(); });
  expect_error(ErrorKind::kUsage, "state: expected [8] Long cpu",
               [] { ExactMean::from_state(at::zeros({3}, at::kLong)); });
}
