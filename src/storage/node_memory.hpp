#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace dissent {

/// One block of memory shared by all ranks of a node: an MPI-3 shared-memory window (backed by
/// /dev/shm) for several ranks, an ordinary allocation for one rank.
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

  /// Checks before allocating that the bytes fit into the free memory (Error::kMemory) and, for a
  /// window, into /dev/shm (Error::kData): "<what> needs 14.7 GiB, /dev/shm has 1.0 GiB free"; a
  /// full /dev/shm would cause a bus error. The same error on every rank. Collective over `node`,
  /// which has to outlive this object.
  void allocate(Communicator& node, int64_t bytes, const std::string& what);
  /// The first byte, at an address of this process; null before allocate() and after free().
  char* data() const;
  /// Afterwards every rank sees what any rank wrote before the call. Collective.
  void publish();
  /// Frees the block; data() becomes invalid on all ranks. Collective.
  void free();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Bytes that this process can still allocate without swapping: the smaller of MemAvailable
/// (/proc/meminfo) and what its control groups leave (core/cgroup.hpp); the largest int64_t if
/// neither can be read. root: see core/cgroup.hpp.
int64_t available_memory_bytes(const std::string& root = "");
/// Peak resident memory of this process, shared pages included (VmHWM of /proc/self/status); 0 if
/// it cannot be read.
int64_t peak_memory_bytes();

}  // namespace dissent
