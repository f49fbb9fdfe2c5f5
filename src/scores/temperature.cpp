#include <dissent/scores/temperature.hpp>

#include <algorithm>
#include <cmath>

#include "core/tensor_check.hpp"
#include "scores/temperature_nll.hpp"

namespace dissent::scores {
namespace {

constexpr int kMostSteps = 200;
constexpr double kAccuracy = 1e-13;  // relative, of the bracket of 1 / T

// The zero of d NLL / d beta in [low, high], where it is negative at low and positive at high.
double optimal_beta(const TemperatureNll& nll, double low, double high) {
  double beta = std::min(std::max(1.0, low), high);
  for (int step = 0; step < kMostSteps && high - low > kAccuracy * high; ++step) {
    const auto at = nll.at_beta(beta);
    if (at.slope == 0) return beta;

    // The slope increases in beta, so its sign says on which side the zero is.
    (at.slope < 0 ? low : high) = beta;

    // A Newton step that leaves the bracket is replaced by the geometric mean of the bounds.
    const double newton = at.curvature > 0 ? beta - at.slope / at.curvature : low;
    const double next = newton > low && newton < high ? newton : std::sqrt(low * high);
    if (std::abs(next - beta) <= kAccuracy * beta) return next;
    beta = next;
  }
  return beta;
}

}  // namespace

std::string temperature_end_name(TemperatureEnd end) {
  switch (end) {
    case TemperatureEnd::kInside: return "inside";
    case TemperatureEnd::kLowerBound: return "at the lower bound";
    case TemperatureEnd::kUpperBound: return "at the upper bound";
    case TemperatureEnd::kFlat: return "flat";
  }
  DISSENT_FAIL(kInternal, "end {} has no name", static_cast<int>(end));
}

TemperatureFit fit_temperature(const at::Tensor& logits, const at::Tensor& labels,
                               TemperatureBounds bounds) {
  const TemperatureNll nll("fit_temperature", logits, labels);
  check_bounds("fit_temperature", bounds);

  const double low = 1 / bounds.highest, high = 1 / bounds.lowest;
  const double slope_low = nll.at_beta(low).slope, slope_high = nll.at_beta(high).slope;
  const auto fit = [&](double temperature, TemperatureEnd end) {
    return TemperatureFit{temperature, nll.at_temperature(temperature), end};
  };

  // The NLL is convex in beta = 1 / T: the signs of the slope at both ends tell the cases apart.
  if (slope_low == 0 && slope_high == 0)
    return fit(std::min(std::max(1.0, bounds.lowest), bounds.highest), TemperatureEnd::kFlat);
  if (slope_low >= 0) return fit(bounds.highest, TemperatureEnd::kUpperBound);
  if (slope_high <= 0) return fit(bounds.lowest, TemperatureEnd::kLowerBound);
  return fit(1 / optimal_beta(nll, low, high), TemperatureEnd::kInside);
}

}  // namespace dissent::scores
