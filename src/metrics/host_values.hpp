#pragma once
#include <ATen/ATen.h>

#include <dissent/tensor_check.hpp>

#include <algorithm>
#include <vector>

namespace dissent::metrics {

/// Appends the values of a tensor [N] of f32 or f64 on any device, as f64.
inline void append_values(std::vector<double>& to, const at::Tensor& values) {
  const auto host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  to.insert(to.end(), host.data_ptr<double>(), host.data_ptr<double>() + host.numel());
}

/// [N] of f32 or f64.
inline void check_values(const char* function, const char* name, const at::Tensor& values) {
  DISSENT_CHECK(values.defined() && values.dim() == 1 && (values.scalar_type() == at::kFloat || values.scalar_type() == at::kDouble), kUsage,
                "{}: {}: wanted [N] of f32 or f64, given {}", function, name, describe(values));
}

/// [N] of the given type on the device of the values.
inline void check_beside(const char* function, const char* name, const at::Tensor& tensor, const at::Tensor& values, at::ScalarType type) {
  DISSENT_CHECK(tensor.defined() && tensor.sizes() == values.sizes() && tensor.scalar_type() == type && tensor.device() == values.device(), kUsage,
                "{}: {}: wanted [{}] {} {}, given {}", function, name, values.size(0), c10::toString(type), values.device().str(), describe(tensor));
}

/// Throws Error::kData naming how many of the values are NaN.
inline void check_no_nan(const char* function, const at::Tensor& values) {
  const auto count = values.isnan().sum().item<int64_t>();
  DISSENT_CHECK(count == 0, kData, "{}: {} of {} scores are NaN", function, count, values.numel());
}

}  // namespace dissent::metrics
