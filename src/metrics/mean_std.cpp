#include <dissent/metrics/mean_std.hpp>

#include <cmath>
#include <limits>

namespace dissent::metrics {

MeanStd mean_std(const std::vector<double>& values) {
  if (values.empty())
    return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};

  // Two passes: the sum of squares about the mean does not cancel.
  const double count = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / count;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / count)};
}

}  // namespace dissent::metrics
