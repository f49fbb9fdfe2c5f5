// NCCL over shared memory. As the real one does it, a collective call returns at once; a thread of
// the communicator carries it out, and the stream is busy meanwhile. It moves the bytes that lie in
// device memory.
//
// NULL_NCCL_FAULT=KIND:N[:RANK] disturbs the N-th operation (from 1) of each communicator, on one
// rank or on all:
//   slow   it begins three seconds late
//   stuck  the call is never taken: the communicator stays "in progress"
//   hang   it is taken and never ends: the stream stays busy
//   error  it ends the communicator with ncclRemoteError
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "null_gpu.hpp"

using namespace null_gpu;

namespace {

constexpr int kRanks = 16;
constexpr size_t kSlot = 8 << 20;  // bytes that a rank shows the others at a time

struct Shared {
  std::atomic<int> arrived, phase;
  alignas(64) char data[kRanks][kSlot];
};

struct Operation {
  bool reduces;
  const void* in;
  void* out;
  size_t elements;
  ncclDataType_t type;
  int root_or_op;
  Stream* stream;
};

struct Fault {
  std::string kind;
  int64_t operation = 0, rank = -1;
};

Fault read_fault() {
  Fault fault;
  const char* text = std::getenv("NULL_NCCL_FAULT");
  if (!text) return fault;
  const std::string all = text;
  const auto first = all.find(':'), second = all.find(':', first + 1);
  fault.kind = all.substr(0, first);
  fault.operation = std::atoll(all.c_str() + first + 1);
  if (second != std::string::npos) fault.rank = std::atoll(all.c_str() + second + 1);
  return fault;
}

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    default: return 8;
  }
}

template <class T>
void reduce(char* sum, const char* other, size_t elements, int op) {
  auto* a = reinterpret_cast<T*>(sum);
  const auto* b = reinterpret_cast<const T*>(other);
  for (size_t i = 0; i < elements; ++i)
    a[i] = op == ncclSum   ? static_cast<T>(a[i] + b[i])
           : op == ncclMin ? std::min(a[i], b[i])
                           : std::max(a[i], b[i]);
}

void reduce(ncclDataType_t type, char* sum, const char* other, size_t elements, int op) {
  switch (type) {
    case ncclFloat32: return reduce<float>(sum, other, elements, op);
    case ncclFloat64: return reduce<double>(sum, other, elements, op);
    case ncclInt32: return reduce<int32_t>(sum, other, elements, op);
    case ncclInt64: return reduce<int64_t>(sum, other, elements, op);
    default: return reduce<uint8_t>(sum, other, elements, op);
  }
}

}  // namespace

struct ncclComm {
  Shared* shared = nullptr;
  std::string name;
  int rank = 0, size = 0;
  std::atomic<ncclResult_t> state{ncclInProgress};
  std::atomic<bool> aborted{false};
  int64_t started = 0;
  Fault fault = read_fault();
  std::mutex lock;
  std::condition_variable changed;
  std::deque<Operation> queue;
  bool ends = false;
  std::thread worker;

  bool disturbs(const char* kind) const {
    return fault.kind == kind && fault.operation == started &&
           (fault.rank < 0 || fault.rank == rank);
  }

  // False once this rank has aborted.
  bool meet() {
    const int phase = shared->phase;
    if (shared->arrived.fetch_add(1) + 1 == size) {
      shared->arrived = 0;
      shared->phase = phase + 1;
      return true;
    }
    while (shared->phase == phase) {
      if (aborted) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return true;
  }

  bool carry_out(const Operation& operation) {
    const size_t bytes = size_of(operation.type), step = kSlot / bytes;
    for (size_t done = 0; done < operation.elements; done += step) {
      const size_t elements = std::min(step, operation.elements - done);
      const auto* in = static_cast<const char*>(readable(operation.in)) + done * bytes;
      auto* out = static_cast<char*>(readable(operation.out)) + done * bytes;
      if (operation.reduces || rank == operation.root_or_op)
        std::memcpy(shared->data[rank], in, elements * bytes);
      if (!meet()) return false;
      if (operation.reduces) {
        std::vector<char> sum(shared->data[0], shared->data[0] + elements * bytes);
        for (int r = 1; r < size; ++r)
          reduce(operation.type, sum.data(), shared->data[r], elements, operation.root_or_op);
        std::memcpy(out, sum.data(), sum.size());
      } else {
        std::memcpy(out, shared->data[operation.root_or_op], elements * bytes);
      }
      if (!meet()) return false;
    }
    return true;
  }

  void sleep_while_open(double seconds) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!aborted && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  void work() {
    const bool all_here = meet();  // all ranks have the shared memory: its name is of no more use
    if (rank == 0) shm_unlink(name.c_str());
    state = all_here ? ncclSuccess : ncclInternalError;
    for (;;) {
      std::unique_lock guard(lock);
      changed.wait(guard, [&] { return ends || aborted || !queue.empty(); });
      if (aborted || queue.empty()) break;
      const auto operation = queue.front();
      queue.pop_front();
      guard.unlock();
      ++started;
      count(Count::kCollectives);
      if (disturbs("stuck")) sleep_while_open(1e9);
      state = ncclSuccess;
      if (disturbs("slow")) sleep_while_open(3);
      if (disturbs("hang")) sleep_while_open(1e9);
      if (disturbs("error")) {
        state = ncclRemoteError;
        sleep_while_open(1e9);
      }
      if (aborted || !carry_out(operation)) {
        --operation.stream->pending;
        break;
      }
      --operation.stream->pending;
    }
    std::lock_guard guard(lock);
    for (const auto& operation : queue) --operation.stream->pending;
    queue.clear();
    if (!aborted) state = ncclSuccess;
  }

  void end(bool by_abort) {
    {
      const std::lock_guard guard(lock);
      ends = true;
      if (by_abort) aborted = true;
    }
    changed.notify_all();
  }
};

namespace {

thread_local int group_depth = 0;
thread_local std::vector<std::pair<ncclComm*, Operation>> group;

void submit() {
  for (const auto& [comm, operation] : group) {
    const std::lock_guard guard(comm->lock);
    if (comm->state == ncclSuccess) comm->state = ncclInProgress;
    ++operation.stream->pending;
    comm->queue.push_back(operation);
    comm->changed.notify_all();
  }
  group.clear();
}

ncclResult_t add(ncclComm* comm, const Operation& operation) {
  if (operation.stream->device != current_device()) {
    fail(cudaErrorInvalidResourceHandle, "an NCCL call");
    return ncclUnhandledCudaError;
  }
  group.emplace_back(comm, operation);
  if (group_depth == 0) submit();
  return ncclInProgress;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> number{0};
  std::memset(id, 0, sizeof *id);
  // The time too: a process that was killed leaves its memory behind, and numbers come again.
  const auto time = std::chrono::system_clock::now().time_since_epoch().count();
  std::snprintf(id->internal, sizeof id->internal, "/null_nccl-%d-%d-%lld", getpid(), number++,
                static_cast<long long>(time));
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t*) {
  if (size > kRanks) return ncclInvalidArgument;
  const int file = shm_open(id.internal, O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return ncclSystemError;
  void* at =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  close(file);
  if (at == MAP_FAILED) return ncclSystemError;
  auto* comm = new ncclComm;
  comm->shared = static_cast<Shared*>(at);
  comm->rank = rank;
  comm->size = size;
  comm->name = id.internal;
  comm->worker = std::thread([comm] { comm->work(); });
  *out = comm;
  return ncclInProgress;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  comm->end(false);
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  comm->end(false);
  comm->worker.join();
  munmap(comm->shared, sizeof(Shared));
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->end(true);
  return ncclCommDestroy(comm);
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = comm->state;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t code) {
  switch (code) {
    case ncclSuccess: return "no error";
    case ncclInProgress: return "NCCL operation in progress";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclSystemError: return "unhandled system error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    default: return "another error";
  }
}
const char* ncclGetLastError(ncclComm_t) { return "null NCCL"; }
ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (--group_depth > 0) return ncclSuccess;
  submit();
  return ncclInProgress;
}
ncclResult_t ncclAllReduce(const void* in, void* out, size_t elements, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, {true, in, out, elements, type, static_cast<int>(op), &stream_of(stream)});
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t elements, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, {false, in, out, elements, type, root, &stream_of(stream)});
}

}  // extern "C"
