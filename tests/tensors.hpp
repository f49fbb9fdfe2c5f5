// Small tensors and numbers that many tests make.
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace dissent::testing {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Largest absolute value.
inline double largest(const at::Tensor& difference) {
  return difference.abs().max().item<double>();
}

/// [N] i64.
inline at::Tensor longs(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong);
}

/// [1, N] f64.
inline at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).unsqueeze(0);
}

}  // namespace dissent::testing
