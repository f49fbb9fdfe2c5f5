// Temperatures as found by the optimisers of the reference implementations.
#include <dissent/scores/temperature.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "core/tensor_check.hpp"
#include "scores/temperature_nll.hpp"

namespace dissent::scores {
namespace {

using Function = std::function<double(double)>;

struct Bracket {
  double a, b, c;  ///< f(b) below f(a) and f(c), b between them
};

// scipy.optimize.bracket: goes downhill from two points, by golden steps and parabolas through the
// last three points. Nothing if scipy finds no bracket: the values fall without end, or are all the
// same.
std::optional<Bracket> bracket(const Function& f, double a, double b) {
  constexpr double kGolden = 1.618034, kTiny = 1e-21, kGrowLimit = 110;
  constexpr int kMostSteps = 1000;

  // f falls from a to b.
  double fa = f(a), fb = f(b);
  if (fa < fb) {
    std::swap(a, b);
    std::swap(fa, fb);
  }

  // Until f rises: a, b, c are three points in one direction.
  double c = b + kGolden * (b - a), fc = f(c);
  for (int step = 0; fc < fb; ++step) {
    if (step > kMostSteps) return std::nullopt;

    // w: the minimum of the parabola through the three points.
    const double left = (b - a) * (fb - fc), right = (b - c) * (fb - fa), difference = right - left;
    const double denominator = 2 * (std::abs(difference) < kTiny ? kTiny : difference);
    const double limit = b + kGrowLimit * (c - b);
    double w = b - ((b - c) * right - (b - a) * left) / denominator, fw = 0;
    const auto golden = [&] {
      w = c + kGolden * (c - b);
      fw = f(w);
    };

    // The cases are those of scipy: w between b and c, beyond the limit, or between c and the
    // limit.
    if ((w - c) * (b - w) > 0) {
      fw = f(w);
      if (fw < fc) return Bracket{b, w, c};
      if (fw > fb) return Bracket{a, b, w};
      golden();
    } else if ((w - limit) * (limit - c) >= 0) {
      w = limit;
      fw = f(w);
    } else if ((w - limit) * (c - w) > 0) {
      fw = f(w);
      if (fw < fc) {
        b = c;
        c = w;
        fb = fc;
        fc = fw;
        golden();
      }
    } else {
      golden();
    }

    // The oldest of the three points is dropped.
    a = b;
    b = c;
    c = w;
    fa = fb;
    fb = fc;
    fc = fw;
  }

  // scipy raises an error for what is not a bracket.
  const bool lower = (fb < fc && fb <= fa) || (fb < fa && fb <= fc),
             between = (a < b && b < c) || (c < b && b < a);
  if (!lower || !between || !std::isfinite(a) || !std::isfinite(c)) return std::nullopt;
  return Bracket{a, b, c};
}

// If there is no minimum: the better bound, or 1 if all temperatures are equally good.
TemperatureFit better_bound(const TemperatureNll& nll, TemperatureBounds bounds) {
  const double at_lowest = nll.at_temperature(bounds.lowest),
               at_highest = nll.at_temperature(bounds.highest);
  DISSENT_CHECK(!std::isnan(at_lowest) && !std::isnan(at_highest), kData,
                "fit_temperature_sdde: expected logits with a finite cross-entropy, found NaN");

  // T = 1 changes nothing, if the bounds contain it.
  if (at_lowest == at_highest)
    return {std::clamp(1.0, bounds.lowest, bounds.highest), at_lowest, TemperatureEnd::kFlat};
  return at_lowest < at_highest
             ? TemperatureFit{bounds.lowest, at_lowest, TemperatureEnd::kLowerBound}
             : TemperatureFit{bounds.highest, at_highest, TemperatureEnd::kUpperBound};
}

// scipy.optimize.golden.
double golden_section(const Function& f, const Bracket& start, double tolerance) {
  constexpr double kRatio = 0.61803399, kRest = 1 - kRatio;
  constexpr int kMostSteps = 5000;

  // Two inner points x1 < x2, one of which is the middle of the bracket.
  double x0 = start.a, x3 = start.c, x1, x2;
  if (std::abs(start.c - start.b) > std::abs(start.b - start.a)) {
    x1 = start.b;
    x2 = start.b + kRest * (start.c - start.b);
  } else {
    x2 = start.b;
    x1 = start.b - kRest * (start.b - start.a);
  }

  // Drops the part beyond the worse inner point, which costs one evaluation per step.
  double f1 = f(x1), f2 = f(x2);
  for (int step = 0;
       step < kMostSteps && std::abs(x3 - x0) > tolerance * (std::abs(x1) + std::abs(x2)); ++step) {
    // The minimum lies in [x1, x3] or in [x0, x2].
    if (f2 < f1) {
      x0 = x1;
      x1 = x2;
      x2 = kRatio * x1 + kRest * x3;
      f1 = f2;
      f2 = f(x2);
    } else {
      x3 = x2;
      x2 = x1;
      x1 = kRatio * x2 + kRest * x0;
      f2 = f1;
      f1 = f(x1);
    }
  }
  return f1 < f2 ? x1 : x2;
}

}  // namespace

TemperatureFit fit_temperature_sdde(const at::Tensor& logits, const at::Tensor& labels,
                                    double tolerance, TemperatureBounds bounds) {
  const TemperatureNll nll("fit_temperature_sdde", logits, labels);
  check_bounds("fit_temperature_sdde", bounds);
  DISSENT_CHECK(tolerance > 0, kUsage,
                "fit_temperature_sdde: tolerance: expected above 0, found {}", tolerance);

  // The search is in log T. Whole steps of 1 from the lowest bound find where the loss stops
  // falling; scipy's bracketing starts from that interval.
  const auto loss = [&](double log_t) { return nll.at_temperature(std::exp(log_t)); };
  const double last = std::log(bounds.highest);
  double low = std::log(bounds.lowest), high = low + 1, value = loss(high);
  while (high < last) {
    const double next = loss(high + 1);
    if (!(next < value)) break;
    low = high;
    high += 1;
    value = next;
  }
  high = std::min(last, high + 1);

  const auto found = bracket(loss, low, high);

  if (!found) return better_bound(nll, bounds);
  const double log_t = golden_section(loss, *found, tolerance);
  return {std::exp(log_t), loss(log_t), TemperatureEnd::kInside};
}

TemperatureFit fit_temperature_openood(const at::Tensor& logits, const at::Tensor& labels) {
  constexpr double kRate = 0.01, kGradientTolerance = 1e-7, kChangeTolerance = 1e-9,
                   kLeastCurvature = 1e-10;
  constexpr int kIterations = 50;
  const TemperatureNll nll("fit_temperature_openood", logits, labels);

  // d NLL / dT = -(d NLL / d beta) / T^2, with beta = 1 / T. T may become negative, as in
  // OpenOOD.
  double t = 1.5, value = 0, gradient = 0;
  const auto evaluate = [&] {
    const auto at = nll.at_beta(1 / t);
    value = at.value;
    gradient = -at.slope / (t * t);
  };
  evaluate();

  // In one dimension the two-loop recursion of LBFGS depends only on the last pair: the step is
  // that of the secant method, times the rate.
  double inverse_curvature = 1, step = 0, previous_value = 0, previous_gradient = 0;
  for (int iteration = 1; iteration <= kIterations && std::abs(gradient) > kGradientTolerance;
       ++iteration) {
    if (iteration > 1) {
      const double change = gradient - previous_gradient;
      if (change * step > kLeastCurvature) inverse_curvature = step / change;
    }

    // The first step is limited by the gradient's size, as in torch.
    previous_value = value;
    previous_gradient = gradient;
    const double direction = -inverse_curvature * gradient;
    const double rate = iteration == 1 ? std::min(1.0, 1 / std::abs(gradient)) * kRate : kRate;

    // The conditions of torch's LBFGS: the slope along the step, its size, and the change of the
    // value.
    if (gradient * direction > -kChangeTolerance) break;
    step = rate * direction;
    t += step;
    evaluate();

    if (std::abs(step) <= kChangeTolerance || std::abs(value - previous_value) < kChangeTolerance)
      break;
  }
  return {t, value, TemperatureEnd::kInside};
}

}  // namespace dissent::scores
