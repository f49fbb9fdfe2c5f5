#include "comm/device.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "comm/nccl.hpp"
#include "comm/runtime.hpp"
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

#ifdef DISSENT_KERNELS_CUDA
// NCCL rejects two ranks on the same GPU of a host ("Duplicate GPU detected"), but only after a
// while. It takes NCCL_HOSTID, if set, as the name of the host.
void check_one_rank_per_gpu(Communicator& group, at::Device device) {
  std::string own;
  agree(group, [&] {
    const char* host = std::getenv("NCCL_HOSTID");
    own = gpu_identity(device.index()) + (host ? host : "");
  });

  // Each rank checks the whole list, so all find the same pair of ranks.
  const auto gpus = all_gather_text(group, own);
  agree(group, [&] {
    for (int rank = 0; rank < group.size(); ++rank) {
      const auto first = std::find(gpus.begin(), gpus.end(), gpus[rank]) - gpus.begin();
      DISSENT_CHECK(first == rank, kUsage,
                    "runtime.device = \"cuda\": expected one rank per GPU, found that ranks {} and "
                    "{} of a run share one; start as many ranks per node as it has GPUs, or as "
                    "many runs (grid.runs) as ranks",
                    first, rank);
    }
  });
}
#endif

}  // namespace

void prepare_device(DeviceChoice choice) {
#ifdef DISSENT_KERNELS_CUDA
  if (choice != DeviceChoice::kCpu && find_gpus().count > 0) load_cuda();
#endif
  static_cast<void>(choice);
}

at::Device choose_device(DeviceChoice choice, Communicator& world, Communicator& node,
                         const DeviceMath& math) {
  set_device_math({});
  if (choice == DeviceChoice::kCpu) return at::kCPU;

  // The decision must be the same on all ranks, so each learns the counts of all.
  const auto gpus = find_gpus();
  const auto counts = all_gather_integer(world, gpus.count);
  const bool everywhere = *std::min_element(counts.begin(), counts.end()) > 0;
  if (choice == DeviceChoice::kAuto && !everywhere) return at::kCPU;

  // With "cuda" a rank without a GPU is an error: computing on the CPU instead could take days.
  agree(world, [&] {
    DISSENT_CHECK(
        gpus.count > 0, kUsage,
        "runtime.device = \"cuda\": expected a GPU for each rank, found none on rank {}: {}",
        world.rank(), gpus.reason);
  });
#ifdef DISSENT_KERNELS_CUDA
  // Ranks of a node take its GPUs in turn. Where a launcher shows each rank one GPU, that is
  // device 0.
  const auto index = static_cast<c10::DeviceIndex>(node.rank() % gpus.count);
  agree(world, [&] {
    set_device_math(math);  // before the first product, which fixes cuBLAS' workspace
    use_gpu(index);
  });
  return {at::kCUDA, index};
#else
  static_cast<void>(node), static_cast<void>(math);
  return at::kCPU;
#endif
}

std::string gpu_identity(int index) {
#ifdef DISSENT_KERNELS_CUDA
  cudaDeviceProp properties;
  DISSENT_CUDA(cudaGetDeviceProperties(&properties, index));
  return fmt::format(
      "{} {:02x}", host_name(),
      fmt::join(std::string_view(properties.uuid.bytes, sizeof properties.uuid.bytes), ""));
#else
  DISSENT_FAIL(kUsage, "GPU {}: expected a build with CUDA, found one without", index);
#endif
}

std::string gpu_name(at::Device device) {
#ifdef DISSENT_KERNELS_CUDA
  if (device.is_cuda()) {
    cudaDeviceProp properties;
    DISSENT_CUDA(cudaGetDeviceProperties(&properties, device.index()));
    return properties.name;
  }
#endif
  DISSENT_CHECK(device.is_cpu(), kUsage, "{}: expected a build with CUDA, found one without",
                device.str());
  return "CPU";
}

void use_gpu(int index) {
#ifdef DISSENT_KERNELS_CUDA
  load_cuda();
  DISSENT_CUDA(cudaSetDevice(index));
  // Not the default stream, which cannot be captured into a graph.
  c10::cuda::setCurrentCUDAStream(
      c10::cuda::getStreamFromPool(false, static_cast<c10::DeviceIndex>(index)));
#else
  DISSENT_FAIL(kUsage, "GPU {}: expected a build with CUDA, found one without", index);
#endif
}

at::Tensor to_device(const at::Tensor& host, at::Device device) {
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host;
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& group, at::Device device) {
  // One rank needs no NCCL, and two ranks of a group may not share a GPU.
  if (device.is_cpu()) return nullptr;
  if (group.size() == 1) return make_self_communicator();
#ifdef DISSENT_KERNELS_CUDA
  check_one_rank_per_gpu(group, device);
  return make_nccl_communicator(group, device.index());
#else
  DISSENT_FAIL(kUsage, "group of {} ranks on {}: expected a build with CUDA, found one without",
               group.size(), device.str());
#endif
}

void synchronise(at::Device device) {
#ifdef DISSENT_KERNELS_CUDA
  if (device.is_cuda())
    DISSENT_CUDA(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream(device.index()).stream()));
#endif
  static_cast<void>(device);
}

int64_t free_device_bytes(Communicator& node, at::Device device) {
#ifdef DISSENT_KERNELS_CUDA
  if (device.is_cuda()) {
    const c10::cuda::CUDAGuard guard(device);
    size_t free = 0, total = 0;
    std::string own;
    agree(node, [&] {
      own = gpu_identity(device.index());
      DISSENT_CUDA(cudaMemGetInfo(&free, &total));
    });

    // All ranks read the free memory before any of them allocates.
    const auto used = all_gather_text(node, own);
    return static_cast<int64_t>(free) / std::count(used.begin(), used.end(), used[node.rank()]);
  }
#endif
  static_cast<void>(node), static_cast<void>(device);
  return std::numeric_limits<int64_t>::max();
}

}  // namespace dissent
