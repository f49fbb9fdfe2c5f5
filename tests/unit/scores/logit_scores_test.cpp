#include <cmath>
#include <vector>

#include <dissent/scores/logit_scores.hpp>

#include "expect_error.hpp"
#include "scores/weibull.hpp"
#include "tensors.hpp"
#include "unit/scores/made_features.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

using dissent::testing::kInfinity;

using dissent::testing::row;
at::Tensor logs(std::vector<double> values) { return row(values).log(); }

FitData of_validation(const at::Tensor& logits, const at::Tensor& labels = {}) {
  return {{}, {{}, logits, labels}, {}, {}};
}
FitData of_training(const at::Tensor& logits, const at::Tensor& labels) {
  return {{{}, logits, labels}, {}, {}, {}};
}

// d log-likelihood of x - shift under a Weibull, by central differences.
double likelihood(const std::vector<double>& distances, const Weibull& w) {
  double sum = 0;
  for (const double d : distances) {
    const double x = (d - w.shift) / w.scale;
    sum += std::log(w.shape / w.scale) + (w.shape - 1) * std::log(x) - std::pow(x, w.shape);
  }
  return sum;
}

}  // namespace

TEST(LogitScores, ClosedForms) {
  const auto z = logs({1, 2, 5});
  EXPECT_NEAR(score_msp({}, {}, z).item<double>(), 5.0 / 8, 1e-15);
  EXPECT_NEAR(score_maxlogit({}, {}, z).item<double>(), std::log(5.0), 1e-15);
  EXPECT_NEAR(score_energy(fit_energy({}), {}, z).item<double>(), std::log(8.0), 1e-15);
  EXPECT_NEAR(score_energy(fit_energy({}, {2}), {}, z).item<double>(),
              2 * std::log(1 + std::sqrt(2.0) + std::sqrt(5.0)), 1e-14);
}

TEST(Gen, TakesTheLargestProbabilitiesOrAll) {
  const auto z = logs({1, 2, 5});
  const auto term = [](double p) { return std::sqrt(p * (1 - p)); };
  const auto score = [&](int64_t m) {
    return score_gen(fit_gen({}, {0.5, m}), {}, z).item<double>();
  };
  EXPECT_NEAR(score(1), -term(5.0 / 8), 1e-15);
  EXPECT_NEAR(score(2), -term(5.0 / 8) - term(2.0 / 8), 1e-15);
  for (const int64_t all : {0, 3, 100})
    EXPECT_NEAR(score(all), -term(5.0 / 8) - term(2.0 / 8) - term(1.0 / 8), 1e-15) << all;
  expect_error(ErrorKind::kUsage, "gen: gamma: expected a number above 0",
               [] { fit_gen({}, {0, 1}); });
}

TEST(TempScaling, OptimumByDefaultReferenceByConvention) {
  const MadeFeatures made;
  const auto noisy =
      of_validation(made.validation.logits * 4,
                    (made.validation.logits + made_logits(1, 60, 5, 8.0, 9)[0]).argmax(1));
  const auto optimum = fit_temp_scaling(noisy),
             released = fit_temp_scaling(noisy, {.convention = TemperatureConvention::kOpenood});
  EXPECT_LT(optimum.at("nll").item<double>(), released.at("nll").item<double>());
  EXPECT_EQ(released.at("temperature").item<double>(),
            fit_temperature_openood(noisy.validation.logits, noisy.validation.labels).temperature);
  const double t = optimum.at("temperature").item<double>();
  EXPECT_TRUE(at::equal(score_temp_scaling(optimum, {}, made.test.logits),
                        at::softmax(made.test.logits / t, 1).amax(1)));
  EXPECT_EQ(optimum.at("end").item<int64_t>(), static_cast<int64_t>(TemperatureEnd::kInside));
}

TEST(Klm, ATemplateOfItsOwnIsAtDistanceZero) {
  const auto state =
      fit_klm(of_validation(logs({1, 3}).expand({4, 2})));  // all predicted as class 1
  EXPECT_TRUE(at::allclose(
      state.at("templates"),
      at::tensor({1.0, 0.0, 0.25, 0.75}, at::kDouble).view({2, 2})));  // none as 0: one-hot
  EXPECT_NEAR(score_klm(state, {}, logs({1, 3})).item<double>(), 0, 1e-15);
  EXPECT_NEAR(score_klm(state, {}, logs({1, 1})).item<double>(),
              -(0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3)), 1e-15);
  EXPECT_EQ(score_klm(state, {}, row({2000, 0})).item<double>(),
            0);  // exactly the one-hot template
}

TEST(Klm, MassWhereNoTemplateHasAnyIsInfinitelyFar) {
  const auto state = fit_klm(of_validation(
      at::tensor({2000.0, 0.0, 0.0, /**/ 0.0, 2000.0, 0.0}, at::kDouble).view({2, 3})));
  EXPECT_EQ(score_klm(state, {}, logs({1, 1, 1})).item<double>(), -kInfinity);
}

TEST(Weibull, IsTheMaximumOfTheLikelihood) {
  const std::vector<double> distances = {0.3, 0.9, 1.1, 1.6, 2.0, 2.1, 4.5};
  const auto fit = fit_weibull(distances);
  EXPECT_NEAR(fit.shift, 0.3 - 1, 1e-15);
  const double best = likelihood(distances, fit);
  for (const double factor : {0.99, 1.01}) {
    EXPECT_LT(likelihood(distances, {fit.shift, fit.scale * factor, fit.shape}), best);
    EXPECT_LT(likelihood(distances, {fit.shift, fit.scale, fit.shape * factor}), best);
  }
  constexpr double kStep = 1e-5;
  EXPECT_NEAR((likelihood(distances, {fit.shift, fit.scale, fit.shape + kStep}) -
               likelihood(distances, {fit.shift, fit.scale, fit.shape - kStep})) /
                  (2 * kStep),
              0, 1e-8);
}

TEST(Weibull, FindsTheParametersOfManySamples) {
  std::vector<double>
      distances;  // quantiles of scale 2, shape 3, moved by 5; the smallest is near 5
  for (int i = 0; i < 100000; ++i)
    distances.push_back(4 + 2 * std::pow(-std::log(1 - (i + 0.5) / 100000), 1.0 / 3));
  const auto fit = fit_weibull(distances);
  const double moved = 4 - fit.shift;  // where the quantiles begin, in the fit's frame
  EXPECT_NEAR(fit.scale - moved, 2, 0.1);
  EXPECT_GT(fit.shape, 3);
}

TEST(Weibull, WithoutTwoDifferentDistancesThereIsNone) {
  for (const auto& distances : {std::vector<double>{}, {1.0}, {2.0, 2.0, 2.0}})
    EXPECT_EQ(fit_weibull(distances).shift, kInfinity);
  EXPECT_TRUE(std::isfinite(fit_weibull({0.0, 1e6}).scale));
}

TEST(Openmax, ProbabilitiesSumToOneAndFarLogitsAreUnknown) {
  const MadeFeatures made;
  const auto state = fit_openmax(made.data());
  const auto p = openmax_probabilities(state, made.test.logits);
  EXPECT_LT((p.sum(1) - 1).abs().max().item<double>(), 1e-14);
  const auto means = state.at("mean_logits");
  const auto near = score_openmax(state, {}, means), far = score_openmax(state, {}, means * 50);
  EXPECT_TRUE(near.gt(far).all().item<bool>());
  EXPECT_TRUE(far.isfinite().all().item<bool>());
}

TEST(Openmax, ClosedFormWithGivenTails) {
  State state = {
      {"mean_logits", at::zeros({2, 2}, at::kDouble)},
      {"weibull", at::tensor({1.0, 2.0, 1.0, /**/ 0.0, 1.0, 2.0}, at::kDouble).view({2, 3})},
      {"alpha", at::scalar_tensor(2, at::kLong)}};
  const double d = 5, w0 = 1 - std::exp(-(d - 1) / 2), w1 = 1 - std::exp(-d * d);  // logits (3, 4)
  const double z0 = 3 * (1 - w0 * 0.5), z1 = 4 * (1 - w1), unknown = 3 * w0 * 0.5 + 4 * w1;
  EXPECT_NEAR(score_openmax(state, {}, row({3, 4})).item<double>(),
              -std::exp(unknown) / (std::exp(z0) + std::exp(z1) + std::exp(unknown)), 1e-15);
}

TEST(Openmax, AClassWithoutCorrectSamplesIsNotRevised) {
  const MadeFeatures made;
  auto labels = made.train.labels.clone();
  labels.masked_fill_(labels.eq(2), 3);  // class 2 is absent
  const auto state = fit_openmax(of_training(made.train.logits, labels));
  EXPECT_EQ(state.at("weibull")[2][0].item<double>(), kInfinity);
  EXPECT_TRUE(score_openmax(state, {}, made.test.logits).isfinite().all().item<bool>());
  // Nothing at all is known: every logit stays, and the unknown class has logit 0.
  const auto none = fit_openmax(of_training(row({1, 0}), at::tensor({1}, at::kLong)));
  EXPECT_NEAR(score_openmax(none, {}, row({1, 0})).item<double>(), -1 / (2 + std::exp(1.0)), 1e-15);
}

TEST(Openmax, MoreRanksThanClassesReviseAll) {
  const MadeFeatures made;
  EXPECT_TRUE(score_openmax(fit_openmax(made.data(), {.alpha = 50}), {}, made.test.logits)
                  .isfinite()
                  .all()
                  .item<bool>());
  expect_error(ErrorKind::kUsage, "openmax: tail: expected 2 or more",
               [&] { fit_openmax(made.data(), {.tail = 1}); });
}
