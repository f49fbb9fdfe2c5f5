// --device and --precision of the benchmarks that also run on a GPU, with the words of the
// configuration (runtime.device, training.precision).
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "comm/device.hpp"
#include "core/device_math.hpp"
#include "harness.hpp"

namespace dissent::bench {

/// Where a benchmark computes.
struct Place {
  at::Device device = at::kCPU;
  at::ScalarType compute =
      at::kFloat;  ///< of products, as in ImageStepOptions and DeviceStepperOptions
};

class DeviceOptions {
 public:
  /// The precisions of the benchmark on each device.
  DeviceOptions(std::vector<std::string> on_cpu, std::vector<std::string> on_gpu)
      : on_cpu_(std::move(on_cpu)), on_gpu_(std::move(on_gpu)) {}

  void declare(Options& options) {
    options.choice("device", device, {"cpu", "cuda"}, "device")
        .choice("precision", precision, on_gpu_, "precision of products");
  }

  /// Chooses the device. Error::kUsage for a precision that the CPU does not have. Collective.
  Place choose(Communicator& world) const {
    const auto& known = device == "cpu" ? on_cpu_ : on_gpu_;
    DISSENT_CHECK(std::find(known.begin(), known.end(), precision) != known.end(), kUsage,
                  "--precision with --device {}: expected one of {}, found {}", device,
                  fmt::join(known, ", "), precision);
    const auto node = world.split_by_node();
    return {choose_device(*value_in(kDeviceChoices, device), world, *node,
                          device_math(precision, false)),
            type()};
  }

  std::string device = "cpu", precision = "f32";

 private:
  at::ScalarType type() const {
    if (precision == "bf16") return at::kBFloat16;
    return precision == "f16" ? at::kHalf : at::kFloat;
  }
  std::vector<std::string> on_cpu_, on_gpu_;
};

}  // namespace dissent::bench
