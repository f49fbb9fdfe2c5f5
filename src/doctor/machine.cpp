#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <hdf5.h>

#include "build_info.hpp"
#include "comm/mpi_info.hpp"
#include "core/cgroup.hpp"
#include "core/stop.hpp"
#include "doctor/checks.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"
#if DISSENT_WITH_CUDA
#include "comm/nccl.hpp"
#endif

namespace dissent::doctor {
namespace {

#if DISSENT_WITH_CUDA
// 13000 is CUDA 13.0; 0 means that there is no driver.
std::string cuda_text(int version) {
  return version == 0 ? "none" : fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string device_libraries() {
  int runtime = 0, driver = 0, nccl = 0;
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  static_cast<void>(cudaDriverGetVersion(&driver));
  static_cast<void>(ncclGetVersion(&nccl));
  return fmt::format("CUDA {} (built with {}, driver {}), NCCL {}.{}.{}", cuda_text(runtime),
                     cuda_text(CUDART_VERSION), cuda_text(driver), nccl / 10000, nccl / 100 % 100,
                     nccl % 100);
}
#else
std::string device_libraries() { return "no CUDA"; }
#endif

// Cores that this process may use.
std::vector<int64_t> own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int64_t> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

// Number of cores that the ranks of a node may use together: their sets may overlap.
int64_t cores_together(Communicator& node) {
  // Ranks that are bound have different sets of cores, unbound ones the same.
  const auto own = own_cores();
  const auto all = node.all_gather(at::tensor(own, at::kLong),
                                   all_gather_integer(node, static_cast<int64_t>(own.size())));
  return static_cast<int64_t>(
      std::set<int64_t>(all.const_data_ptr<int64_t>(), all.const_data_ptr<int64_t>() + all.numel())
          .size());
}

std::string limit_text(rlim_t value, bool bytes) {
  return value == RLIM_INFINITY ? "unlimited"
         : bytes                ? byte_text(static_cast<int64_t>(value))
                                : fmt::format("{}", value);
}

rlim_t soft_limit(decltype(RLIMIT_NOFILE) which) {
  rlimit limit{};
  return getrlimit(which, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

}  // namespace

Finding check_versions(Communicator& world) {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const std::string hdf5 = fmt::format("{}.{}.{}", major, minor, release);
  const std::string text = fmt::format("dissent {} ({}), LibTorch {}, {} ({}), HDF5 {}, {}",
                                       DISSENT_VERSION, DISSENT_COMMIT, DISSENT_LIBTORCH_VERSION,
                                       mpi_library(), mpi_standard(), hdf5, device_libraries());

  // Every rank compares its text with that of rank 0: nodes with other modules report themselves.
  const std::string first = broadcast_text(world, text, 0);
  if (text != first)
    return failed(fmt::format("{}; rank 0 has {}", text, first),
                  "use the same program with the same modules or container on every node");

  if (hdf5 != DISSENT_HDF5_VERSION)
    return warning(fmt::format("{}; built with HDF5 {}", text, DISSENT_HDF5_VERSION),
                   "load the HDF5 that the program was built with, or rebuild it");
  return ok(world.rank() == 0 ? text : "");
}

Finding check_cores(Runtime& runtime) {
  const int64_t threads = runtime.default_threads();
  auto node = runtime.world().split_by_node();
  const auto own = static_cast<int64_t>(own_cores().size());

  const int64_t cores = cores_together(*node);
  const auto all_threads = all_gather_integer(*node, threads);
  const auto total_threads = std::accumulate(all_threads.begin(), all_threads.end(), int64_t{0});
  const auto quota = cpu_quota();

  // Per rank: threads that share the cores of a binding slow each other down.
  if (own > 0 && threads > own)
    return warning(fmt::format("{} threads on {}: OMP_NUM_THREADS exceeds the number of cores "
                               "available to the rank",
                               threads, count_text(own, "core")),
                   "mpirun: --bind-to none, or --map-by slot:PE=THREADS; srun: "
                   "--cpus-per-task=THREADS; or a smaller OMP_NUM_THREADS");

  // Per node: the sum over its ranks, against the cores and the CPU quota of its container.
  if (node->rank() != 0) return ok("");
  const std::string text =
      fmt::format("{} per node with {} in total, {}{}", count_text(node->size(), "rank"),
                  count_text(total_threads, "thread"), count_text(cores, "core"),
                  quota ? fmt::format(", CPU quota of {:.1f} cores", *quota) : "");
  const bool over_quota = quota && static_cast<double>(total_threads) > *quota + 0.5;
  if (total_threads > cores || over_quota)
    return warning(
        text + ": more threads than cores",
        "start fewer ranks per node, or set OMP_NUM_THREADS or runtime.threads to cores / ranks");
  return ok(text);
}

Finding check_memory(Communicator& world) {
  // The ranks of a node share its memory, so one of them reports. The limit of a batch job is often
  // far below the memory of the machine.
  auto node = world.split_by_node();
  if (node->rank() != 0) return ok("");
  const int64_t available = available_memory_bytes();
  const auto limit = memory_limit();
  const std::string text = fmt::format(
      "{} available to {} per node{}", byte_text(available), count_text(node->size(), "rank"),
      limit ? fmt::format(", {} left of the limit {} of {}", byte_text(limit->left_bytes),
                          byte_text(limit->limit_bytes), limit->place)
            : ", no limit set by a control group");

  if (available / node->size() < int64_t{1} << 30)
    return warning(
        text, "request more memory from the batch system (--mem), or start fewer ranks per node");
  return ok(text);
}

Finding check_limits(Communicator& world) {
  const rlim_t files = soft_limit(RLIMIT_NOFILE), locked = soft_limit(RLIMIT_MEMLOCK),
               size = soft_limit(RLIMIT_FSIZE), memory = soft_limit(RLIMIT_AS);
  auto node = world.split_by_node();
  const bool several_nodes = node->size() < world.size();
  const std::string text = fmt::format(
      "open files {}, locked memory {}, file size {}, address space {}", limit_text(files, false),
      limit_text(locked, true), limit_text(size, true), limit_text(memory, true));

  // The most likely cause of a failure first: one line has room for one.
  if (files < 256) return warning(text, "raise the number of open files: ulimit -n 4096");
  if (size != RLIM_INFINITY)
    return warning(text,
                   "caches and checkpoints may exceed the file size limit: ulimit -f unlimited");
  if (memory != RLIM_INFINITY)
    return warning(
        text,
        "mapped libraries and shared memory count towards the address space: ulimit -v unlimited");
  if (several_nodes && locked != RLIM_INFINITY)
    return warning(
        text,
        "InfiniBand needs locked memory: ulimit -l unlimited, which the site's administrators "
        "may have to allow");
  return ok(text);
}

Finding check_signals() {
  constexpr const char* advice =
      "a parent process blocks the signal: start the program without wrappers, and check how the "
      "batch script or launcher handles signals";

  // A blocked signal is inherited from the parent process and would never arrive.
  sigset_t blocked;
  sigemptyset(&blocked);
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  for (const auto& [signal, name] : {std::pair(SIGUSR1, "SIGUSR1"), {SIGTERM, "SIGTERM"}})
    if (sigismember(&blocked, signal) == 1)
      return failed(fmt::format("{} is blocked", name), advice);

  // Send the signal to ourselves, as a batch system would near the time limit.
  install_stop_handlers();
  kill(getpid(), SIGUSR1);
  for (int i = 0; i < 100 && !stop_requested(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (!stop_requested()) return failed("SIGUSR1 did not arrive within 1 s", advice);
  return ok("SIGUSR1 arrives and requests a checkpoint, as SIGTERM does");
}

}  // namespace dissent::doctor
