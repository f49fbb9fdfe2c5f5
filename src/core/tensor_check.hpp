#pragma once
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include <cstdint>
#include <string>

// Checks of tensor arguments, shared by losses, scores and metrics. Each throws Error::kUsage with
// function, argument, expected and found.
namespace dissent {

/// "[2, 8, 10] Double cpu"
inline std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "nothing";
  return fmt::format("[{}] {} {}", fmt::join(tensor.sizes().begin(), tensor.sizes().end(), ", "),
                     c10::toString(tensor.scalar_type()), tensor.device().str());
}

/// Outputs of members: [M >= min_members, B >= min_rows, C >= 1], f32 or f64, any device.
inline void check_outputs(const char* function, const char* name, const at::Tensor& outputs,
                          int64_t min_members, int64_t min_rows = 1) {
  const bool fits = outputs.defined() && outputs.dim() == 3 && outputs.size(0) >= min_members &&
                    outputs.size(1) >= min_rows && outputs.size(2) >= 1 &&
                    (outputs.scalar_type() == at::kFloat || outputs.scalar_type() == at::kDouble);
  DISSENT_CHECK(fits, kUsage, "{}: {}: expected [M >= {}, B >= {}, C >= 1] of f32 or f64, found {}",
                function, name, min_members, min_rows, describe(outputs));
}

/// Class numbers [rows] of i64 on the given device, each in lowest .. classes - 1. The range is
/// checked only for labels in host memory: on a GPU the check would synchronise the stream in every
/// step, so there the code that reads the data checks it once.
inline void check_labels(const char* function, const char* name, const at::Tensor& labels,
                         int64_t rows, int64_t classes, at::Device device, int64_t lowest = 0) {
  DISSENT_CHECK(labels.defined() && labels.dim() == 1 && labels.size(0) == rows &&
                    labels.scalar_type() == at::kLong && labels.device() == device,
                kUsage, "{}: {}: expected [{}] Long {}, found {}", function, name, rows,
                device.str(), describe(labels));
  if (rows == 0 || !device.is_cpu()) return;
  const auto [low, high] = at::aminmax(labels);
  const auto smallest = low.item<int64_t>(), largest = high.item<int64_t>();
  DISSENT_CHECK(smallest >= lowest && largest < classes, kUsage,
                "{}: {}: expected class numbers {} .. {}, found {} .. {}", function, name, lowest,
                classes - 1, smallest, largest);
}

/// An index in 0 .. bound - 1.
inline void check_index(const char* function, const char* name, int64_t index, int64_t bound) {
  DISSENT_CHECK(index >= 0 && index < bound, kUsage, "{}: {}: expected 0 .. {}, found {}", function,
                name, bound - 1, index);
}

/// A number in [low, high].
inline void check_range(const char* function, const char* name, double value, double low,
                        double high) {
  DISSENT_CHECK(value >= low && value <= high, kUsage,
                "{}: {}: expected a number in {} .. {}, found {}", function, name, low, high,
                value);
}

}  // namespace dissent
