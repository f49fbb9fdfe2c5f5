#include "storage/node_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>

#include <fmt/format.h>

#include "comm/mpi.hpp"
#include "core/cgroup.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {

struct NodeMemory::State {
  Communicator* node = nullptr;
  MPI_Win handle = MPI_WIN_NULL;
  at::Tensor own;
  char* data = nullptr;

  // Rank 0 allocates all of it; a page is placed on the NUMA node of the rank that first writes it.
  void allocate_window(int64_t bytes) {
    void* base = nullptr;
    DISSENT_MPI(MPI_Win_allocate_shared(node->rank() == 0 ? bytes : 0, 1, MPI_INFO_NULL,
                                        mpi_handle(*node), &base, &handle));
    DISSENT_MPI(MPI_Win_set_errhandler(handle, MPI_ERRORS_RETURN));

    // The address of rank 0's part differs from process to process, so each rank queries its own.
    MPI_Aint size = 0;
    int unit = 0;
    DISSENT_MPI(MPI_Win_shared_query(handle, 0, &size, &unit, &base));
    DISSENT_CHECK(size >= bytes, kComm, "shared-memory window: expected {} bytes, found {}", bytes,
                  size);
    data = static_cast<char*>(base);

    // One access epoch for the lifetime of the window; publish() orders reads and writes.
    DISSENT_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, handle));
  }
};

NodeMemory::NodeMemory() : state_(std::make_unique<State>()) {}
NodeMemory::NodeMemory(NodeMemory&&) noexcept = default;
NodeMemory& NodeMemory::operator=(NodeMemory&&) noexcept = default;
NodeMemory::~NodeMemory() = default;

void NodeMemory::allocate(Communicator& node, int64_t bytes, const std::string& what) {
  agree(node, [&] {
    if (node.rank() != 0) return;

    // Checked before the allocation: pages of a window are allocated only when they are written,
    // and a write for which there is no memory ends the process (SIGBUS or the OOM killer).
    const int64_t available = available_memory_bytes();
    if (node.size() > 1) check_free_space("/dev/shm", bytes, what);

    const auto limit = memory_limit();
    DISSENT_CHECK(
        bytes <= available, kMemory, "{} needs {}, the node has {} of memory available{}", what,
        byte_text(bytes), byte_text(available),
        limit && limit->left_bytes < bytes
            ? fmt::format(" (limit of {}: {})", limit->place, byte_text(limit->limit_bytes))
            : "");
  });

  // One rank needs no window, and so no space in /dev/shm.
  state_->node = &node;
  agree(node, [&] {
    if (node.size() > 1) return state_->allocate_window(bytes);
    state_->own = at::empty({bytes}, at::kByte);
    state_->data = static_cast<char*>(state_->own.data_ptr());
  });
}

char* NodeMemory::data() const { return state_->data; }

void NodeMemory::publish() {
  if (state_->handle == MPI_WIN_NULL) return;

  // Own writes become visible, then all ranks have written, then their writes are seen.
  DISSENT_MPI(MPI_Win_sync(state_->handle));
  state_->node->barrier();
  DISSENT_MPI(MPI_Win_sync(state_->handle));
}

void NodeMemory::free() {
  if (state_->handle != MPI_WIN_NULL) {
    state_->node->barrier();  // with a timeout, unlike MPI_Win_free
    DISSENT_MPI(MPI_Win_unlock_all(state_->handle));
    DISSENT_MPI(MPI_Win_free(&state_->handle));
  }
  state_->own.reset();
  state_->data = nullptr;
}

namespace {

// A field in KiB of a file of /proc, in bytes; `otherwise` if it does not exist.
int64_t proc_bytes(const std::string& path, const std::string& field, int64_t otherwise) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field)) return std::stoll(line.substr(field.size())) * 1024;
  return otherwise;
}

}  // namespace

int64_t available_memory_bytes(const std::string& root) {
  const int64_t bytes =
      proc_bytes(root + "/proc/meminfo", "MemAvailable:", std::numeric_limits<int64_t>::max());
  const auto limit = memory_limit(root);
  return limit ? std::min(bytes, limit->left_bytes) : bytes;
}

int64_t peak_memory_bytes() { return proc_bytes("/proc/self/status", "VmHWM:", 0); }

}  // namespace dissent
