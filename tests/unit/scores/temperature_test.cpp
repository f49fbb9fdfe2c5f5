#include <cmath>
#include <cstdint>

#include <dissent/scores/temperature.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

struct Samples {
  at::Tensor logits, labels;
};

// n samples of two classes with logits (a, 0), a share r of which has label 0: the optimum has
// softmax(a / T) = r, so T = a / log(r / (1 - r)).
Samples two_classes(double a, int64_t right, int64_t wrong) {
  const auto logits = at::tensor({a, 0.0}, at::kDouble).expand({right + wrong, 2}).contiguous();
  return {logits, at::cat({at::zeros({right}, at::kLong), at::ones({wrong}, at::kLong)})};
}

// Labels drawn so that the optimum is somewhere inside.
Samples drawn(int64_t rows = 5000) {
  const auto logits = made_logits(1, rows, 6, 2.0, 11)[0];
  return {logits * 3, (logits + made_logits(1, rows, 6, 1.5, 12)[0]).argmax(1)};
}

double nll(const Samples& s, double t) {
  return at::cross_entropy_loss(s.logits / t, s.labels).item<double>();
}

}  // namespace

TEST(Temperature, OptimumInClosedForm) {
  for (const double a : {0.01, 1.0, 40.0}) {
    const auto s = two_classes(a, 3, 1);
    const auto fit = fit_temperature(s.logits, s.labels);
    EXPECT_NEAR(fit.temperature / (a / std::log(3.0)), 1, 1e-12) << a;
    EXPECT_EQ(fit.end, TemperatureEnd::kInside);
    EXPECT_NEAR(fit.nll, -(0.75 * std::log(0.75) + 0.25 * std::log(0.25)), 1e-14);
  }
}

TEST(Temperature, NothingNearIsBetter) {
  const auto s = drawn();
  const auto fit = fit_temperature(s.logits, s.labels);
  EXPECT_NEAR(fit.nll, nll(s, fit.temperature), 1e-13);
  for (const double factor : {0.5, 0.999, 1.001, 2.0})
    EXPECT_GT(nll(s, fit.temperature * factor), fit.nll) << factor;
  const auto golden = fit_temperature_sdde(s.logits, s.labels, 1e-10);
  EXPECT_NEAR(golden.temperature / fit.temperature, 1,
              1e-7);  // a minimum is found to the root of the rounding
  EXPECT_GE(golden.nll, fit.nll - 1e-15);
}

TEST(Temperature, ScalesWithTheLogits) {
  const auto s = drawn(300);
  const double t = fit_temperature(s.logits, s.labels).temperature;
  EXPECT_NEAR(fit_temperature(s.logits * 5, s.labels).temperature / t, 5, 1e-10);
  EXPECT_NEAR(fit_temperature(s.logits + 100, s.labels).temperature / t, 1, 1e-10);
}

TEST(Temperature, SinglePrecisionIsComputedInDouble) {
  const auto s = drawn(300);
  const auto single = s.logits.to(at::kFloat);
  EXPECT_EQ(fit_temperature(single, s.labels).temperature,
            fit_temperature(single.to(at::kDouble), s.labels).temperature);
}

TEST(Temperature, EndsAtABoundAndSaysSo) {
  const auto right = two_classes(2, 5, 0), wrong = two_classes(2, 0, 5),
             chance = two_classes(2, 1, 1);
  const auto low = fit_temperature(right.logits, right.labels),
             high = fit_temperature(wrong.logits, wrong.labels);
  EXPECT_EQ(low.temperature, 0.001);
  EXPECT_EQ(low.end, TemperatureEnd::kLowerBound);
  EXPECT_EQ(high.temperature, 100);
  EXPECT_EQ(high.end, TemperatureEnd::kUpperBound);
  EXPECT_EQ(temperature_end_name(high.end), "at the upper bound");
  EXPECT_EQ(fit_temperature(chance.logits, chance.labels).end, TemperatureEnd::kUpperBound);
  EXPECT_EQ(fit_temperature(right.logits, right.labels, {0.5, 3}).temperature, 0.5);
}

TEST(Temperature, ConstantLogitsHaveAnyTemperatureSoOne) {
  const auto labels = at::tensor({0, 2, 1}, at::kLong);
  const auto fit = fit_temperature(at::full({3, 4}, 2.5, at::kDouble), labels);
  EXPECT_EQ(fit.temperature, 1);
  EXPECT_EQ(fit.end, TemperatureEnd::kFlat);
  EXPECT_NEAR(fit.nll, std::log(4.0), 1e-14);
  EXPECT_EQ(fit_temperature(at::zeros({3, 4}, at::kDouble), labels, {2, 3}).temperature, 2);
}

TEST(Temperature, ReleasedConventionsMissTheOptimum) {
  const auto s = drawn(300);
  const double optimum = fit_temperature(s.logits, s.labels).temperature;
  EXPECT_GT(std::abs(fit_temperature_openood(s.logits, s.labels).temperature - optimum), 0.1);
  EXPECT_LT(std::abs(fit_temperature_sdde(s.logits, s.labels).temperature / optimum - 1), 2e-3);
  // Every prediction is wrong: the bracket of the golden section leaves the bounds, ours ends at
  // one.
  const auto wrong = two_classes(2, 0, 5);
  EXPECT_GT(fit_temperature_sdde(wrong.logits, wrong.labels).temperature, 100);
}

// Where scipy finds no bracket the fit ends at a bound, as the evaluation promises, and says so.
TEST(Temperature, SddeWithoutAMinimumEndsAtABoundOrAtOne) {
  const auto labels = at::arange(40).remainder(4);
  const auto right = at::one_hot(labels, 4).to(at::kDouble);
  for (const double margin : {1.0, 20.0, 900.0, 1e6}) {
    const auto perfect = fit_temperature_sdde(right * margin, labels);
    EXPECT_GT(perfect.temperature, 0) << margin;
    EXPECT_LT(perfect.temperature, margin) << margin;
    EXPECT_LT(perfect.nll, 1e-2) << margin;
  }
  const auto far = fit_temperature_sdde(right * 900, labels);  // 0 for all T that a bracket tries
  EXPECT_EQ(far.temperature, 0.001);
  EXPECT_EQ(far.nll, 0);
  EXPECT_EQ(far.end, TemperatureEnd::kLowerBound);
  EXPECT_EQ(fit_temperature_sdde(right * 1e6, labels).end, TemperatureEnd::kFlat);  // 0 at 100 too
  const auto flat = fit_temperature_sdde(at::full({40, 4}, 2.5, at::kDouble), labels);
  EXPECT_EQ(flat.temperature, 1);
  EXPECT_EQ(flat.end, TemperatureEnd::kFlat);
  const auto one = fit_temperature_sdde(right.narrow(0, 0, 1) * 900, labels.narrow(0, 0, 1));
  EXPECT_GT(one.temperature, 0);
  expect_error(ErrorKind::kData, "found NaN",
               [&] { fit_temperature_sdde(at::full({40, 4}, std::nan(""), at::kDouble), labels); });
}

TEST(Temperature, WrongArgumentsAreErrors) {
  const auto s = drawn(10);
  expect_error(ErrorKind::kUsage, "fit_temperature: logits: expected [N >= 1, C >= 1]",
               [&] { fit_temperature(s.logits[0], s.labels); });
  expect_error(ErrorKind::kUsage, "fit_temperature: labels: expected [10] Long",
               [&] { fit_temperature(s.logits, s.labels.narrow(0, 0, 9)); });
  expect_error(ErrorKind::kUsage, "bounds: expected 0 < lowest < highest",
               [&] { fit_temperature(s.logits, s.labels, {0, 1}); });
  expect_error(ErrorKind::kUsage, "tolerance: expected above 0",
               [&] { fit_temperature_sdde(s.logits, s.labels, 0); });
}
