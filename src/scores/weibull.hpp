#pragma once
#include <vector>

namespace dissent::scores {

/// F(d) = 1 - exp(-(max(d - shift, 0) / scale)^shape)
struct Weibull {
  double shift, scale, shape;
};

/// Shift: the smallest distance minus 1. Scale and shape: the maximum likelihood of the rest, to
/// 1e-12. With less than 2 different distances there is no maximum: shift infinite, scale and shape
/// 1, so F = 0.
Weibull fit_weibull(const std::vector<double>& distances);

}  // namespace dissent::scores
