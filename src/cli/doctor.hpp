#pragma once
#include <functional>
#include <string>
#include <vector>

#include "cli/doctor_report.hpp"
#include "comm/runtime.hpp"
#include "config/document.hpp"

namespace dissent::cli {

// The checks of `dissent doctor`. Each is called by every rank and gives what this rank found; a
// rank that has nothing of its own to say gives an empty text. All are collective, but for those
// that take no communicator.

/// Program, LibTorch, MPI, HDF5, CUDA, NCCL: what was built with and what runs; the same on every
/// rank.
Finding check_versions(Communicator& world);
/// Whether MPI knows of all processes that the launcher started, and of which hosts.
Finding check_launcher(Communicator& world);
/// all_reduce, all_gather and broadcast with known results.
Finding check_messages(Communicator& world);
/// Latency of a small all_reduce, bandwidth of a large all_gather.
Finding check_speed(Communicator& world);
/// A rank that waits in vain gives up after its timeout.
Finding check_timeout(Communicator& world);
/// Threads of the ranks of a node against the cores that they may use.
Finding check_cores(Runtime& runtime);
/// Memory of the node, and what limits it.
Finding check_memory(Communicator& world);
/// ulimit.
Finding check_limits(Communicator& world);
/// SIGUSR1 and SIGTERM set the flag that asks for a checkpoint.
Finding check_signals();
/// /dev/shm, and a window that the ranks of a node share.
Finding check_shared_memory(Communicator& world);

/// A folder of its own below `parent`, for the files of the checks; deleted at the end by the rank
/// that made it.
class TrialFolder {
 public:
  TrialFolder(Communicator& world, const std::string& parent);
  ~TrialFolder();
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& parent() const { return parent_; }
  /// Makes it; rank 0 alone.
  void make();

 private:
  std::string parent_, path_;
  bool made_ = false;
};
/// Every rank writes a file as all results are written (flush, atomic rename), and reads those of
/// the others.
Finding check_folder(Communicator& world, TrialFolder& folder);
/// flock and fcntl locks, and what HDF5 does about them.
Finding check_locks(Communicator& world, const TrialFolder& folder);
/// A small file written by all ranks through MPI-IO, read by each.
Finding check_hdf5(Communicator& world, const TrialFolder& folder);

/// Devices, their memory and compute capability against LibTorch's, a product compared with the
/// CPU's.
Finding check_gpu(Communicator& world);
/// An all_reduce over the GPUs of all ranks.
Finding check_nccl(Communicator& world, double timeout_s);

/// Keys, and for a training: grid against the ranks, caches, memory.
Finding check_config(Communicator& world, const config::Document& document);

}  // namespace dissent::cli
