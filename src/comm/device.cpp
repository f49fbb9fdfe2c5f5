#include "comm/device.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <limits>

#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "comm/nccl.hpp"
#endif

namespace dissent {
namespace {

struct Gpus {
  int count = 0;
  std::string reason;
};

Gpus find_gpus() {
#ifdef DISSENT_KERNELS_CUDA
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) return {0, cudaGetErrorString(code)};
  return {count, count == 0 ? "no CUDA device found" : ""};
#else
  return {0, "this build has no CUDA (configure with -DDISSENT_CUDA=ON)"};
#endif
}

}  // namespace

at::Device choose_device(const std::string& wanted, Communicator& world, Communicator& node) {
  if (wanted == "cpu") return at::kCPU;
  const auto gpus = find_gpus();
  const auto counts = all_gather_integer(world, gpus.count);
  const bool everywhere = *std::min_element(counts.begin(), counts.end()) > 0;
  if (wanted == "auto" && !everywhere) return at::kCPU;
  agree(world, [&] {
    DISSENT_CHECK(gpus.count > 0, kUsage, "runtime.device = \"cuda\": rank {} finds no GPU: {}",
                  world.rank(), gpus.reason);
  });
#ifdef DISSENT_KERNELS_CUDA
  const auto index = static_cast<c10::DeviceIndex>(node.rank() % gpus.count);
  agree(world, [&] {
    load_cuda();
    DISSENT_CUDA(cudaSetDevice(index));
  });
  // Not the default stream: that one cannot be captured into a graph.
  c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(false, index));
  return {at::kCUDA, index};
#else
  static_cast<void>(node);
  return at::kCPU;
#endif
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& group, at::Device device) {
  if (device.is_cpu()) return nullptr;
#ifdef DISSENT_KERNELS_CUDA
  return make_nccl_communicator(group, device.index(), group.wait_settings().timeout_s);
#else
  DISSENT_FAIL(kUsage, "no CUDA in this build, wanted a group of {} ranks on {}", group.size(),
               device.str());
#endif
}

int64_t free_device_bytes(at::Device device) {
#ifdef DISSENT_KERNELS_CUDA
  if (device.is_cuda()) {
    const c10::cuda::CUDAGuard guard(device);
    size_t free = 0, total = 0;
    DISSENT_CUDA(cudaMemGetInfo(&free, &total));
    return static_cast<int64_t>(free);
  }
#endif
  static_cast<void>(device);
  return std::numeric_limits<int64_t>::max();
}

}  // namespace dissent
