#include "verify/verify.hpp"

#include <ATen/Context.h>

#include <cstdint>
#include <iostream>
#include <string>

#include <dissent/error.hpp>

#include "cli/compute.hpp"
#include "comm/device.hpp"

namespace dissent::cli {
namespace {

// Options for --device. Called before any operator of LibTorch: its CUDA library has to be loaded
// first.
verify::VerifyOptions verify_options(Communicator& world, const std::string& name) {
  const auto choice = value_in(kDeviceChoices, name).value_or(DeviceChoice::kAuto);

  // All ranks have the same arguments, so the error is agreed on.
  agree(world, [&] {
    DISSENT_CHECK(choice != DeviceChoice::kAuto, kUsage,
                  "--device: expected cpu or cuda, found '{}'", name);
  });
  if (choice == DeviceChoice::kCpu) return {};

  // IEEE f32: the tolerances of f32 do not allow for TF32.
  const auto node = world.split_by_node();
  const auto device = choose_device(choice, world, *node);
  for (const auto op : {at::Float32Op::CONV, at::Float32Op::RNN, at::Float32Op::MATMUL})
    at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, op,
                                            at::Float32Precision::IEEE);
  return {device, gpu_name(device)};
}

}  // namespace

int run_verify_verb(Runtime& runtime, const CommandLine& line) {
  const auto options = verify_options(runtime.world(), line.get<std::string>("device"));

  // Rank 0 computes all cases; the other ranks take its exit code.
  int64_t code = 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() == 0)
      code = verify::run_verify(line.positional(), line.flag("require-all"), std::cout, options);
  });
  return static_cast<int>(all_gather_integer(runtime.world(), code)[0]);
}

}  // namespace dissent::cli
