#include <ATen/Context.h>

#include <iostream>

#include "cli/compute.hpp"
#include "cli/verify.hpp"
#include "comm/device.hpp"

namespace dissent::cli {
namespace {

// --device. Before any operator of LibTorch has run, since its CUDA library has to be there first.
VerifyOptions verify_options(Communicator& world, const std::string& wanted) {
  agree(world, [&] {
    DISSENT_CHECK(wanted == "cpu" || wanted == "cuda", kUsage,
                  "--device: expected cpu or cuda, found '{}'", wanted);
  });
  if (wanted == "cpu") return {};
  const auto node = world.split_by_node();
  const auto device = choose_device(wanted, world, *node);
  for (const auto op : {at::Float32Op::CONV, at::Float32Op::RNN, at::Float32Op::MATMUL})
    at::globalContext().setFloat32Precision(at::Float32Backend::CUDA, op,
                                            at::Float32Precision::IEEE);
  return {device, gpu_name(device)};
}

}  // namespace

int run_verify_verb(Runtime& runtime, const CommandLine& line) {
  const auto options = verify_options(runtime.world(), line.get<std::string>("device"));
  int64_t code = 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() == 0)
      code = run_verify(line.positional(), line.flag("require-all"), std::cout, options);
  });
  return static_cast<int>(all_gather_integer(runtime.world(), code)[0]);
}

}  // namespace dissent::cli
