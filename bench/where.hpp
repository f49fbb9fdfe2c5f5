// --device and --precision of the benchmarks that run on a GPU too, by the words of the
// configuration (runtime.device, training.precision).
#pragma once
#include <algorithm>
#include <cstdio>
#include <dissent/error.hpp>
#include <functional>
#include <string>
#include <vector>

#include "comm/device.hpp"

namespace dissent::bench {

struct Where {
  at::Device device = at::kCPU;
  at::ScalarType compute =
      at::kFloat;  ///< of the products, as ImageStepOptions and DeviceStepperOptions
};

/// Error::kUsage for another device than "cpu" and "cuda", for a precision that is not among those
/// of the benchmark, or that the CPU does not have. Collective over world.
inline Where where(Communicator& world, const std::string& device, const std::string& precision,
                   const std::vector<std::string>& of_cpu, const std::vector<std::string>& of_gpu) {
  DISSENT_CHECK(device == "cpu" || device == "cuda", kUsage,
                "--device: expected cpu or cuda, found {}", device);
  const auto& known = device == "cpu" ? of_cpu : of_gpu;
  DISSENT_CHECK(std::find(known.begin(), known.end(), precision) != known.end(), kUsage,
                "--precision with --device {}: expected one of {}, found {}", device,
                fmt::join(known, ", "), precision);
  const auto node = world.split_by_node();
  return {choose_device(device, world, *node, device_math(precision, false)),
          precision == "bf16"  ? at::kBFloat16
          : precision == "f16" ? at::kHalf
                               : at::kFloat};
}

/// Runs a benchmark; an error is a line on stderr and exit code 2.
inline int run(const char* name, const std::function<void()>& benchmark) {
  try {
    benchmark();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 2;
  }
}

}  // namespace dissent::bench
