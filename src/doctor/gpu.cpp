#include <algorithm>
#include <cstdint>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "build_info.hpp"
#include "doctor/checks.hpp"
#include "storage/atomic_file.hpp"
#if DISSENT_WITH_CUDA
#include <ATen/detail/CUDAHooksInterface.h>

#include "comm/device.hpp"
#include "comm/nccl.hpp"
#include "core/device_math.hpp"
#include "core/timing.hpp"
#endif

namespace dissent::doctor {

#if DISSENT_WITH_CUDA
namespace {

constexpr const char* kNoneAdvice =
    "nothing if no GPU is needed; else request GPUs from the batch system (--gpus), and inspect "
    "the "
    "driver with nvidia-smi";
constexpr const char* kGpuAdvice =
    "inspect the device with nvidia-smi; a newer driver, or a LibTorch built for this GPU, may be "
    "needed";

// Number of devices visible to this process; `reason` says why there is none.
int device_count(std::string& reason) {
  // The last call clears the error, which a later CUDA call would report as its own.
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  reason = status == cudaSuccess ? "no CUDA device" : cudaGetErrorString(status);
  static_cast<void>(cudaGetLastError());
  return status == cudaSuccess ? count : 0;
}

// The GPU of this rank, by its rank on the node; -1: none. Where the launcher shows each rank one
// GPU only, that is device 0.
int device_of(Communicator& world) {
  auto node = world.split_by_node();
  std::string reason;
  const int count = device_count(reason);
  return count == 0 ? -1 : node->rank() % count;
}

// The compute capabilities that LibTorch was built for, from its own configuration text
// ("...;arch=compute_90,code=sm_90;...").
std::set<std::pair<int, int>> built_capabilities() {
  // LibTorch has no function for this; its text lists the flags of its own build.
  const std::string text = at::detail::getCUDAHooks().showConfig();
  const std::regex pattern("code=sm_([0-9]+)([0-9])");
  std::set<std::pair<int, int>> found;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
    found.emplace(std::stoi((*at)[1]), std::stoi((*at)[2]));
  return found;
}

// Code for major.minor runs on the same major with an equal or later minor.
bool covered(const std::set<std::pair<int, int>>& built, int major, int minor) {
  return std::any_of(built.begin(), built.end(),
                     [&](const auto& one) { return one.first == major && one.second <= minor; });
}

// Turns a failure of a device (kComm would end the job) into a failed check: MPI still works, so
// the other ranks can be told.
template <class Work>
void as_check(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    DISSENT_FAIL(kCheck, "{}", error.what());
  }
}

// Compares a product on the GPU with the CPU's, on integers that f32 holds exactly.
void expect_product(int device) {
  const auto a = at::arange(256 * 192, at::kDouble).remainder(23).sub_(11).view({256, 192}),
             b = at::arange(192 * 320, at::kDouble).remainder(19).sub_(9).view({192, 320});
  const auto on = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device));
  const auto expected = at::mm(a, b);

  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const auto found = at::mm(a.to(dtype).to(on), b.to(dtype).to(on)).to(at::kCPU, at::kDouble);

    // All partial sums are integers below 2^24: exact in f32, whatever the order of summation.
    DISSENT_CHECK(at::equal(found, expected), kCheck,
                  "a product of {} on the GPU differs from the CPU's by up to {}",
                  at::toString(dtype), (found - expected).abs().max().item<double>());
  }
}

Finding inspect_device(int device) {
  // IEEE f32 products: TF32 would not be exact in expect_product.
  set_device_math({});
  use_gpu(device);
  cudaDeviceProp properties;
  DISSENT_CUDA(cudaGetDeviceProperties(&properties, device));

  // The memory of the whole device, so that other programs on it show.
  size_t free = 0, total = 0;
  DISSENT_CUDA(cudaMemGetInfo(&free, &total));
  std::string reason;
  const std::string text = fmt::format(
      "{}; {}: {} of {} free, compute capability {}.{}", count_text(device_count(reason), "device"),
      properties.name, byte_text(static_cast<int64_t>(free)),
      byte_text(static_cast<int64_t>(total)), properties.major, properties.minor);
  expect_product(device);

  // Without code for this capability the driver compiles PTX at the first use of each kernel.
  const auto built = built_capabilities();
  if (!built.empty() && !covered(built, properties.major, properties.minor)) {
    std::vector<std::string> list;
    for (const auto& [major, minor] : built) list.push_back(fmt::format("{}.{}", major, minor));
    return warning(fmt::format("{}; this LibTorch was built for {}", text, fmt::join(list, ", ")),
                   "kernels are compiled at their first use, which is slow: use a LibTorch built "
                   "for this GPU");
  }

  if (free < total / 2)
    return warning(text + "; another program uses the rest",
                   "find the other users of the GPU with nvidia-smi");
  return ok(text + "; a matrix product equals the CPU's");
}

// Bandwidth in GB/s of an all_reduce of 64 MiB. Checks the sum first.
double reduce_on_devices(Communicator& world, int device) {
  constexpr int rounds = 10;
  const auto group = make_nccl_communicator(world, device);

  const auto on = at::TensorOptions()
                      .device(at::kCUDA, static_cast<c10::DeviceIndex>(device))
                      .dtype(at::kFloat);
  auto values = at::full({16 << 20}, static_cast<double>(world.rank() + 1), on);
  group->all_reduce(values, ReduceOp::kSum);

  // Rank r has r + 1, so the sum is n (n + 1) / 2: exact in f32, and wrong if a rank is missing or
  // counted twice.
  const double expected = 0.5 * world.size() * (world.size() + 1);
  DISSENT_CHECK(values.eq(expected).all().item<bool>(), kCheck,
                "all_reduce: expected {1}, found {0}", values[0].item<double>(), expected);

  // The maximum leaves the values as they are, so they do not overflow over the rounds.
  const auto start = Clock::now();
  for (int i = 0; i < rounds; ++i) group->all_reduce(values, ReduceOp::kMax);
  return static_cast<double>(values.nbytes()) * rounds / seconds_since(start) / 1e9;
}

}  // namespace

Finding check_gpu(Communicator& world) {
  std::string reason;
  const int count = device_count(reason);
  const int device = device_of(world);

  // A node without a GPU is worth a warning only where another one has some.
  bool any = false;
  for (const int64_t one : all_gather_integer(world, count)) any = any || one > 0;
  if (!any) return skipped("no GPU: " + reason, kNoneAdvice);
  if (count == 0)
    return warning("no GPU on this node, other nodes have some: " + reason, kNoneAdvice);

  Steps steps(world);
  Finding found;
  steps.run([&] { as_check([&] { found = inspect_device(device); }); });
  return steps.finding(kGpuAdvice, [&] { return found; });
}

Finding check_nccl(Communicator& world, double timeout_s) {
  // Every rank learns of every GPU, so that all take the same way through this function.
  std::string reason;
  const int device = device_of(world);
  const auto devices = all_gather_integer(world, device);
  const auto without = std::count(devices.begin(), devices.end(), -1);
  if (without == world.size()) return skipped("compiled in, but there is no GPU", kNoneAdvice);
  if (without > 0)
    return skipped(fmt::format("{} of {} ranks have no GPU", without, world.size()),
                   "start ranks only on nodes with GPUs");

  // NCCL refuses a group in which two ranks share a GPU, with a message that does not name the
  // cause.
  Steps steps(world);
  std::string identity;
  steps.run([&] { as_check([&] { identity = gpu_identity(device); }); });
  const auto identities = all_gather_text(world, identity);
  const auto sharing = std::count(identities.begin(), identities.end(), identity);
  const std::set<std::string> different(identities.begin(), identities.end());
  if (!steps.failed() && different.size() < identities.size())
    return sharing == 1
               ? ok("")
               : warning(fmt::format("refused: {} ranks share a GPU; NCCL needs one GPU per rank",
                                     sharing),
                         "start as many ranks per node as it has GPUs (--ntasks-per-node, mpirun "
                         "--map-by ppr:N:node)");

  // Half of the timeout: where one rank fails, the others wait in NCCL and the failed rank waits
  // for them in MPI. NCCL has to time out first, so that the check fails and not the job.
  double rate = 0;
  steps.run([&] {
    const TimeoutScope half(world, timeout_s / 2);
    as_check([&] { rate = reduce_on_devices(world, device); });
  });

  return steps.finding(
      "run again with NCCL_DEBUG=INFO; NCCL_SOCKET_IFNAME and NCCL_IB_DISABLE=1 choose the network",
      [&] {
        if (world.rank() != 0) return ok("");
        return ok(world.size() == 1
                      ? "a group of one GPU is made; one rank has nothing to send"
                      : fmt::format("all_reduce over {} GPUs gives the sum, 64 MiB at {:.1f} GB/s",
                                    world.size(), rate));
      });
}

#else

namespace {
constexpr const char* kGpuAdvice =
    "nothing if only the CPU is used; else build with a CUDA toolkit, NCCL and a LibTorch with "
    "CUDA "
    "(docs/gpu.md)";
}
Finding check_gpu(Communicator&) {
  return skipped("this program was built without CUDA", kGpuAdvice);
}
Finding check_nccl(Communicator&, double) {
  return skipped("this program was built without NCCL", kGpuAdvice);
}

#endif

}  // namespace dissent::doctor
