#pragma once
#include <string>
#include <vector>

#include "comm/runtime.hpp"
#include "config/document.hpp"
#include "doctor/doctor.hpp"
#include "doctor/report.hpp"

namespace dissent::doctor {

// The checks of `dissent doctor`. Every rank calls each of them and gets its own finding; a rank
// with nothing to add returns an empty text. All that take a communicator are collective.

/// Versions of the program, LibTorch, MPI, HDF5, CUDA and NCCL, at build time and at run time; the
/// same on every rank.
Finding check_versions(Communicator& world);
/// Whether MPI knows all processes that the launcher started, and on which hosts.
Finding check_launcher(Communicator& world);
/// all_reduce, all_gather and broadcast with known results.
Finding check_messages(Communicator& world);
/// Latency of a small all_reduce, bandwidth of a large all_gather.
Finding check_speed(Communicator& world);
/// Whether a collective that the other ranks never enter fails after its timeout.
Finding check_timeout(Communicator& world);
/// Threads of the ranks on a node against the cores that they may use.
Finding check_cores(Runtime& runtime);
/// Available memory of the node, and the limit on it.
Finding check_memory(Communicator& world);
/// Resource limits (ulimit).
Finding check_limits(Communicator& world);
/// SIGUSR1 and SIGTERM set the flag that requests a checkpoint.
Finding check_signals();
/// Space in /dev/shm, and a memory window shared by the ranks of a node.
Finding check_shared_memory(Communicator& world);

/// A new folder below `parent` for the files of the checks; the rank that made it deletes it.
class TrialFolder {
 public:
  /// Chooses a name on rank 0, which all ranks get; nothing is created yet. Collective.
  TrialFolder(Communicator& world, const std::string& parent);
  ~TrialFolder();
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& parent() const { return parent_; }
  /// Makes the folder; called on rank 0 only.
  void make();

 private:
  std::string parent_, path_;
  bool made_ = false;
};
/// Every rank writes a file the way results are written (flush, atomic rename), and reads the file
/// of the next rank.
Finding check_folder(Communicator& world, TrialFolder& folder);
/// flock and fcntl locks, and whether HDF5 uses them.
Finding check_locks(Communicator& world, const TrialFolder& folder);
/// A small file written by all ranks through MPI-IO and read back by each.
Finding check_hdf5(Communicator& world, const TrialFolder& folder);

/// Devices, their memory, compute capability against LibTorch's, and a product compared with the
/// CPU's.
Finding check_gpu(Communicator& world);
/// An all_reduce over the GPUs of all ranks.
Finding check_nccl(Communicator& world, double timeout_s);

/// The keys of a configuration; of a training also the grid for this number of ranks, caches and
/// memory.
Finding check_config(Communicator& world, const config::Document& document,
                     const std::vector<VerbSchema>& verbs);

}  // namespace dissent::doctor
