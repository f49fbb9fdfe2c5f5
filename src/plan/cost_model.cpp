#include "plan/cost_model.hpp"

#include <cstdint>

#include <fmt/format.h>

#include "storage/atomic_file.hpp"

namespace dissent::plan {

std::string CostModel::split_batch_note() const {
  return "the batch is split: values agree with those of other grids to a tolerance, not bit for "
         "bit";
}

std::string mean_bytes_text(double bytes) { return byte_text(static_cast<int64_t>(bytes)); }

std::string seconds_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  if (seconds < 120) return fmt::format("{:.3g} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} d", seconds / 86400);
}

std::string shape_text(const GridShape& shape) {
  return fmt::format("{} x {} x {}", shape.runs, shape.members, shape.data);
}

}  // namespace dissent::plan
