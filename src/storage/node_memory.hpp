#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace dissent {

/// One block of memory for all ranks of a node: an MPI-3 shared-memory window (backed by /dev/shm)
/// for several ranks, an ordinary allocation for one.
///   NodeMemory memory;
///   memory.allocate(node, bytes, "host residency of in_train.cache");
///   ... every rank writes its share of memory.data() ...
///   memory.publish();
///   memory.free();
class NodeMemory {
 public:
  NodeMemory();
  NodeMemory(NodeMemory&&) noexcept;
  NodeMemory& operator=(NodeMemory&&) noexcept;
  /// Never communicates: a window that was not freed stays until MPI_Finalize.
  ~NodeMemory();

  /// Looks first whether the bytes fit the free memory (Error::kMemory) and, for a window, /dev/shm
  /// (Error::kData): "<what> needs 14.7 GiB, /dev/shm has 1.0 GiB free" before anything is
  /// allocated (a full /dev/shm shows up as a bus error otherwise). The same error on every rank.
  /// Collective over `node`, which has to outlive this object.
  void allocate(Communicator& node, int64_t bytes, const std::string& what);
  char* data() const;
  /// After it, every rank sees what any rank wrote before it. Collective.
  void publish();
  /// Collective.
  void free();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Bytes that this process may still claim without swapping: the smaller of MemAvailable
/// (/proc/meminfo) and what its control groups leave (core/cgroup.hpp); the largest number where
/// neither can be read. root: see there.
int64_t available_memory_bytes(const std::string& root = "");
/// Most memory that this process has had resident at a time, shared pages included (VmHWM of
/// /proc/self/status); 0 where that cannot be read.
int64_t peak_memory_bytes();

}  // namespace dissent
