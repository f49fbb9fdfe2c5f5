#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace dissent {

using Clock = std::chrono::steady_clock;

/// Seconds since a point in time.
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The median of at least one value (the upper one for an even number).
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace dissent
