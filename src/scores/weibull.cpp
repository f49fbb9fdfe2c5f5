#include "scores/weibull.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dissent::scores {
namespace {

// d log-likelihood / d shape, divided by the number of values, at the best scale for this shape;
// decreases in shape. x in (0, 1], the largest 1.
double slope(const std::vector<double>& x, double mean_log, double shape) {
  double sum = 0, weighted = 0;
  for (const double value : x) {
    const double power = std::pow(value, shape);
    sum += power;
    weighted += power * std::log(value);
  }
  return 1 / shape + mean_log - weighted / sum;
}

}  // namespace

Weibull fit_weibull(const std::vector<double>& distances) {
  const Weibull none{std::numeric_limits<double>::infinity(), 1, 1};
  if (distances.size() < 2) return none;
  const auto [smallest, largest] = std::minmax_element(distances.begin(), distances.end());

  // libMR shifts the values so that the smallest is 1, and fits a Weibull distribution to the
  // result. If all values are the same there is no finite shape.
  const double shift = *smallest - 1, top = *largest - shift;
  if (!(top > 1)) return none;

  // Scaled to (0, 1], so that no power overflows.
  std::vector<double> x;
  double mean_log = 0;
  for (const double distance : distances) {
    x.push_back((distance - shift) / top);
    mean_log += std::log(x.back()) / static_cast<double>(distances.size());
  }
  if (mean_log == 0) return none;

  // Bisection for the zero of the derivative, which is positive at low and negative at high.
  double low = 1e-3, high = 1;
  while (slope(x, mean_log, low) < 0) low /= 2;
  while (slope(x, mean_log, high) > 0) high *= 2;
  while (high - low > 1e-13 * high) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (slope(x, mean_log, middle) > 0 ? low : high) = middle;
  }

  // The best scale for this shape.
  double sum = 0;
  for (const double value : x) sum += std::pow(value, high);
  return {shift, top * std::pow(sum / static_cast<double>(x.size()), 1 / high), high};
}

}  // namespace dissent::scores
