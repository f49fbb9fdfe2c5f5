// main of the GPU tests: ends with 77, which ctest counts as skipped, where there is no device;
// fails when given another number of ranks than the test was registered with.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "comm/device.hpp"
#include "comm/nccl.hpp"
#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "gpu/gpu_main.hpp"

namespace {
constexpr int kSkipped = 77;
dissent::Runtime* g_runtime = nullptr;
int g_device = 0;
}  // namespace

namespace dissent::testing {
Communicator& world() { return g_runtime->world(); }
int device() { return g_device; }
}  // namespace dissent::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  dissent::Runtime runtime(argc, argv, 60);
  g_runtime = &runtime;
  auto& world = runtime.world();
  const char* expected = std::getenv("DISSENT_EXPECTED_RANKS");
  if (!expected || std::atoi(expected) != world.size()) {
    std::fprintf(stderr, "expected %s ranks, found %d\n",
                 expected ? expected : "DISSENT_EXPECTED_RANKS", world.size());
    runtime.abort(1);
  }
  dissent::load_cuda();  // shows, without a device too, that the library is found
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    if (world.rank() == 0)
      std::printf("skipped: no CUDA device (%s)\n",
                  status == cudaSuccess ? "none found" : cudaGetErrorString(status));
    return kSkipped;
  }
  g_device = world.rank() % devices;
  dissent::use_gpu(g_device);
  // NCCL refuses two ranks on one GPU of one host; as hosts of their own they talk over sockets.
  if (world.size() > devices)
    setenv("NCCL_HOSTID", ("rank" + std::to_string(world.rank())).c_str(), 1);
  dissent::set_threads(1);
  const int result = RUN_ALL_TESTS();
  if (result != 0) runtime.abort(1);
  return result;
}
