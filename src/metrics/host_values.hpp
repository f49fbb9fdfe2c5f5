#pragma once
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/tensor_check.hpp"

namespace dissent::metrics {

/// Appends the values of a tensor [N] of f32 or f64 on any device, as f64.
inline void append_values(std::vector<double>& to, const at::Tensor& values) {
  const auto host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  to.insert(to.end(), host.data_ptr<double>(), host.data_ptr<double>() + host.numel());
}

/// [N] of f32 or f64.
inline void check_values(const char* function, const char* name, const at::Tensor& values) {
  DISSENT_CHECK(values.defined() && values.dim() == 1 &&
                    (values.scalar_type() == at::kFloat || values.scalar_type() == at::kDouble),
                kUsage, "{}: {}: expected [N] of f32 or f64, found {}", function, name,
                describe(values));
}

/// [N] of the given type on the device of the values.
inline void check_beside(const char* function, const char* name, const at::Tensor& tensor,
                         const at::Tensor& values, at::ScalarType type) {
  DISSENT_CHECK(tensor.defined() && tensor.sizes() == values.sizes() &&
                    tensor.scalar_type() == type && tensor.device() == values.device(),
                kUsage, "{}: {}: expected [{}] {} {}, found {}", function, name, values.size(0),
                c10::toString(type), values.device().str(), describe(tensor));
}

/// Throws Error::kData naming how many of the values are NaN.
inline void check_no_nan(const char* function, const at::Tensor& values) {
  const auto count = values.isnan().sum().item<int64_t>();
  DISSENT_CHECK(count == 0, kData, "{}: expected scores that are numbers, found {} of {} NaN",
                function, count, values.numel());
}

/// A 128-bit integer as four words of 32 bits, the top one signed: element-wise sums of words are
/// words of the sum, for up to 2^31 of them.
inline void write_integer(__int128 value, int64_t* words) {
  for (int i = 0; i < 3; ++i) words[i] = static_cast<int64_t>(value >> (32 * i)) & 0xffffffff;
  words[3] = static_cast<int64_t>(value >> 96);
}
inline __int128 read_integer(const char* function, const int64_t* words) {
  __int128 low = 0, value = 0;
  for (int i = 0; i < 3; ++i) low += static_cast<__int128>(words[i]) << (32 * i);
  const bool fits = words[3] < (int64_t{1} << 31) && words[3] >= -(int64_t{1} << 31);
  DISSENT_CHECK(
      fits && !__builtin_add_overflow(
                  low, static_cast<__int128>(words[3]) * (static_cast<__int128>(1) << 96), &value),
      kData, "{}: expected a sum over ranks of at most 128 bits, found a larger one", function);
  return value;
}

/// A state that came back: contiguous i64 of this shape on the CPU.
inline void check_state(const char* function, const at::Tensor& state, at::IntArrayRef shape) {
  DISSENT_CHECK(state.defined() && state.sizes() == shape && state.scalar_type() == at::kLong &&
                    state.is_contiguous() && state.device().is_cpu(),
                kUsage, "{}: state: expected [{}] Long cpu, found {}", function,
                fmt::join(shape.begin(), shape.end(), ", "), describe(state));
}

}  // namespace dissent::metrics
