// she, fdbd, nci, gradnorm, and the energies of changed features.
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <dissent/scores/class_geometry.hpp>
#include <dissent/scores/shaped_energy.hpp>

#include <torch/csrc/autograd/autograd.h>

#include "expect_error.hpp"
#include "tensors.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

using dissent::testing::row;

// Two features, three classes; class 2 has no sample that is classified correctly.
FitData small() {
  FitData data;
  data.train.features =
      at::tensor({2.0, 0.0, 4.0, 0.0, 0.0, 3.0, 5.0, 5.0}, at::kDouble).view({4, 2});
  data.train.logits =
      at::tensor({1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0}, at::kDouble)
          .view({4, 3});
  data.train.labels = at::tensor({0, 0, 1, 2}, at::kLong);
  data.head = {at::tensor({1.0, 0.0, 0.0, 1.0, 0.0, 1.0}, at::kDouble).view({3, 2}),
               at::zeros({3}, at::kDouble)};  // classes 1 and 2 have equal weights
  return data;
}

}  // namespace

TEST(She, PatternsAreMeansOfCorrectSamplesAndZeroWithoutAny) {
  const auto data = small();
  const auto h = row({3, 4});
  const auto score = [&](SheMetric metric, std::vector<double> z) {
    return score_she(fit_she(data, {metric}), h, row(std::move(z))).item<double>();
  };
  EXPECT_TRUE(at::equal(fit_she(data).at("patterns"),
                        at::tensor({3.0, 0.0, 0.0, 3.0, 0.0, 0.0}, at::kDouble).view({3, 2})));
  EXPECT_EQ(score(SheMetric::kInnerProduct, {1, 0, 0}), 9);
  EXPECT_EQ(score(SheMetric::kEuclidean, {1, 0, 0}), -4);
  EXPECT_NEAR(score(SheMetric::kCosine, {1, 0, 0}), 0.6, 1e-15);
  for (const auto& [metric, expected] : {std::pair{SheMetric::kInnerProduct, 0.0},
                                         {SheMetric::kEuclidean, -5.0},
                                         {SheMetric::kCosine, 0.0}})
    EXPECT_EQ(score(metric, {0, 0, 1}), expected);
}

TEST(Fdbd, SumsDistancesToBoundariesAndLeavesOutEqualWeights) {
  const auto data = small();
  const auto h = row({3, 4}), z = row({5, 1, 2});
  const double boundaries = (4 + 3) / std::sqrt(2.0);
  EXPECT_NEAR(score_fdbd(fit_fdbd(data, {false}), h, z).item<double>(), boundaries / 5, 1e-15);
  EXPECT_NEAR(score_fdbd(fit_fdbd(data), h, z).item<double>(),
              boundaries / std::hypot(3 - 2.75, 4 - 2.0), 1e-14);
  EXPECT_NEAR(score_fdbd(fit_fdbd(data, {false}), h, row({1, 5, 2})).item<double>(),
              4 / std::sqrt(2.0) / 5, 1e-15);  // 1 against 2: no boundary
}

TEST(Fdbd, ANormaliserOfZeroScoresZero) {
  const auto data = small();
  const auto z = row({5, 1, 2});
  EXPECT_EQ(score_fdbd(fit_fdbd(data, {false}), row({0, 0}), z).item<double>(), 0);
  EXPECT_EQ(score_fdbd(fit_fdbd(data), row({2.75, 2}), z).item<double>(), 0);
}

TEST(Nci, ClosedFormAndTheMeanItself) {
  const auto state = fit_nci(small(), {0.5});
  EXPECT_NEAR(score_nci(state, row({5.75, 6}), row({1, 0, 0})).item<double>(),
              3.0 / 5 + 0.5 * 11.75, 1e-14);
  EXPECT_NEAR(score_nci(state, row({2.75, 2}), row({1, 0, 0})).item<double>(), 0.5 * 4.75, 1e-15);
  expect_error(ErrorKind::kUsage, "nci: alpha: expected 0 or more", [] { fit_nci(small(), {-1}); });
}

TEST(GradNorm, IsTheL1NormOfTheGradient) {
  const MadeFeatures made;
  const auto score = score_gradnorm({}, made.test.features, made.test.logits);
  for (int64_t n = 0; n < 5; ++n) {
    const auto weight = made.head.weight.clone().set_requires_grad(true);
    const auto loss =
        at::log_softmax(at::linear(made.test.features[n], weight, made.head.bias), 0).neg().sum();
    const auto gradient = torch::autograd::grad({loss}, {weight})[0];
    EXPECT_NEAR(score[n].item<double>() / gradient.abs().sum().item<double>(), 1, 1e-12);
  }
}

TEST(ShapedEnergy, WithoutAnyChangeIsTheEnergyOfTheLogits) {
  const MadeFeatures made;
  const auto& h = made.test.features;
  const auto energy = made.test.logits.logsumexp(1);
  const auto data = made.data();
  const auto largest = [](const at::Tensor& difference) {
    return difference.abs().max().item<double>();
  };
  auto wide = data;
  wide.validation.features = at::cat({h, h.neg()});  // thresholds beyond all that is scored
  EXPECT_LT(largest(score_react(fit_react(wide, {100}), h, {}) - energy), 1e-12);
  EXPECT_LT(largest(score_vra(fit_vra(wide, {100, 0}), h, {}) - energy), 1e-12);
  EXPECT_LT(largest(score_ash_p(fit_ash(data, {0}), h, {}) - energy), 1e-12);
  EXPECT_LT(largest(score_scale(fit_scale(data, {0}), h, {}) -
                    at::linear(h * std::exp(1.0), made.head.weight, made.head.bias).logsumexp(1)),
            1e-11);
  // DICE drops the weight at the percentile itself, so at 0 % all but the smallest contribution
  // stay.
  EXPECT_EQ(fit_dice(data, {0}).at("mask").sum().item<int64_t>(), 5 * 20 - 1);
  EXPECT_EQ(fit_dice(data, {100}).at("mask").sum().item<int64_t>(), 0);
  EXPECT_LT(largest(score_dice(fit_dice(data, {100}), h, {}) - made.head.bias.logsumexp(0)), 1e-15);
}

TEST(ShapedEnergy, ChangedLogitsAreThoseOfTheEnergy) {
  const MadeFeatures made;
  const auto data = made.data();
  const auto& h = made.test.features;
  const auto same = [](const at::Tensor& score, const at::Tensor& logits) {
    EXPECT_LT((score - logits.logsumexp(1)).abs().max().item<double>(), 1e-12);
  };
  same(score_react(fit_react(data), h, {}), logits_react(fit_react(data), h));
  same(score_ash_p(fit_ash(data), h, {}), logits_ash_p(fit_ash(data), h));
  same(score_ash_b(fit_ash(data), h, {}), logits_ash_b(fit_ash(data), h));
  same(score_ash_s(fit_ash(data), h, {}), logits_ash_s(fit_ash(data), h));
  same(score_scale(fit_scale(data), h, {}), logits_scale(fit_scale(data), h));
  same(score_vra(fit_vra(data), h, {}), logits_vra(fit_vra(data), h));
  same(score_dice(fit_dice(data), h, {}), logits_dice(fit_dice(data), h));
}

TEST(ShapedEnergy, WrongPercentilesAreErrors) {
  const MadeFeatures made;
  expect_error(ErrorKind::kUsage, "ash: percentile: expected a number in 0 .. 100",
               [&] { fit_ash(made.data(), {101}); });
  expect_error(ErrorKind::kUsage, "scale: percentile: expected a number in 0 .. 100",
               [&] { fit_scale(made.data(), {-1}); });
  expect_error(ErrorKind::kUsage,
               "vra: percentile_low: expected at most percentile_high (10), found 90",
               [&] { fit_vra(made.data(), {10, 90}); });
  auto data = made.data();
  data.head.bias = data.head.bias.narrow(0, 0, 4);
  expect_error(ErrorKind::kUsage, "react: head bias: expected [5] Double cpu, found [4]",
               [&] { fit_react(data); });
}
