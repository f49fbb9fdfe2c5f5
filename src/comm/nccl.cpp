#include "comm/nccl.hpp"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "comm/runtime.hpp"

namespace dissent {
namespace {

ncclDataType_t nccl_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return ncclFloat32;
    case at::kDouble: return ncclFloat64;
    case at::kInt: return ncclInt32;
    case at::kLong: return ncclInt64;
    case at::kByte: return ncclUint8;
    default: DISSENT_FAIL(kInternal, "no NCCL type for tensors of {}", at::toString(type));
  }
}

ncclRedOp_t nccl_op(ReduceOp op) {
  return op == ReduceOp::kSum ? ncclSum : op == ReduceOp::kMin ? ncclMin : ncclMax;
}

cudaStream_t current_stream(int device) {
  return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream();
}

// NCCL's id from rank 0. Failures to select the device are shared before any rank enters NCCL.
ncclUniqueId shared_id(Communicator& group, int device) {
  ncclUniqueId id{};
  agree(group, [&] {
    DISSENT_CUDA(cudaSetDevice(device));
    if (group.rank() == 0) DISSENT_NCCL(ncclGetUniqueId(&id));
  });

  auto bytes = at::empty({static_cast<int64_t>(sizeof id)}, at::kByte);
  std::memcpy(bytes.data_ptr(), &id, sizeof id);

  // The id travels over MPI: NCCL has no connection before it.
  group.broadcast(bytes, 0);
  std::memcpy(&id, bytes.const_data_ptr(), sizeof id);
  return id;
}

}  // namespace

void raise_nccl_error(ncclResult_t code, const char* call, const char* file, int line) {
  throw Error(ErrorKind::kComm,
              fmt::format("NCCL call failed: {} ({}): {}", ncclGetErrorString(code), call,
                          ncclGetLastError(nullptr)),
              file, line);
}

void raise_cuda_error(cudaError_t code, const char* call, const char* file, int line) {
  throw Error(ErrorKind::kComm,
              fmt::format("CUDA call failed: {} ({})", cudaGetErrorString(code), call), file, line);
}

void load_cuda() {
  // Found through the program's run path, like LibTorch's other libraries.
  if (!dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_GLOBAL))
    DISSENT_FAIL(kComm, "LibTorch's CUDA library could not be loaded: {}", dlerror());
  DISSENT_CHECK(
      at::globalContext().hasCUDART(), kInternal,
      "LibTorch's CUDA library: expected to load it before LibTorch first checks for CUDA "
      "(in a convolution, batch norm, backward pass or seed), found that it already has; "
      "call prepare_device() first");
}

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> mpi_group, Communicator* borrowed,
                                   int device)
    : owned_group_(std::move(mpi_group)),
      group_(borrowed ? borrowed : owned_group_.get()),
      device_(device) {
  share_wait_settings(*group_);

  const ncclUniqueId id = shared_id(*group_, device_);

  // Non-blocking, so that a rank that never arrives ends in our timeout and not in a call that does
  // not return.
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  try {
    DISSENT_NCCL(ncclCommInitRankConfig(&comm_, group_->size(), id, group_->rank(), &config));
    wait("NCCL's start", false);
  } catch (...) {
    abort();  // the destructor does not run if the constructor throws
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() {
  try {
    if (std::uncaught_exceptions() == 0) close();
  } catch (const std::exception& error) {
    spdlog::warn("closing an NCCL group failed: {}", error.what());
  }
  abort();
}

void NcclCommunicator::abort() noexcept {
  if (comm_) ncclCommAbort(std::exchange(comm_, nullptr));
}

void NcclCommunicator::close() {
  if (!comm_) return;
  DISSENT_NCCL(ncclCommFinalize(comm_));
  wait("NCCL's end", false);

  DISSENT_NCCL(ncclCommDestroy(std::exchange(comm_, nullptr)));
}

void NcclCommunicator::check_open(const char* operation) const {
  DISSENT_CHECK(comm_, kComm,
                "{}: expected an open NCCL group, found one that was closed or aborted", operation);
}

void NcclCommunicator::check(const at::Tensor& tensor, const char* operation) const {
  check_open(operation);
  DISSENT_CHECK(tensor.is_cuda() && tensor.device().index() == device_ && tensor.is_contiguous(),
                kInternal, "{}: expected a contiguous tensor on cuda:{}, found one on {}",
                operation, device_, tensor.device().str());
}

void NcclCommunicator::wait(const char* operation, bool with_stream) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();

  const cudaStream_t stream = with_stream ? current_stream(device_) : nullptr;
  double next_sign = 1;
  bool taken = false;  // until NCCL has accepted the call, the stream may seem idle

  for (int64_t round = 0;; ++round) {
    ncclResult_t state = ncclSuccess;
    ncclResult_t code = ncclCommGetAsyncError(comm_, &state);
    if (code == ncclSuccess) code = state;
    if (code != ncclSuccess && code != ncclInProgress) {
      const std::string detail = ncclGetLastError(comm_);
      abort();
      DISSENT_FAIL(kComm, "{} failed (rank {} of {}, host {}): {}: {}", operation, rank(), size(),
                   host_name(), ncclGetErrorString(code), detail);
    }

    // The work is finished when NCCL has enqueued it and the stream has reached its end.
    taken = taken || code == ncclSuccess;
    if (taken && !with_stream) return;
    if (taken) {
      const cudaError_t status = cudaStreamQuery(stream);
      if (status == cudaSuccess) return;
      // cudaErrorNotReady is kept as the last error; the next check of another call must not find
      // it.
      static_cast<void>(cudaGetLastError());
      if (status != cudaErrorNotReady) {
        abort();
        raise_cuda_error(status, operation, __FILE__, __LINE__);
      }
    }

    // Not finished: give the core away, send a heartbeat about once per second, and stop at the
    // timeout.
    if (round > 200) sched_yield();
    const double waited = std::chrono::duration<double>(Clock::now() - start).count();
    if (waited > 0.02) std::this_thread::sleep_for(std::chrono::microseconds(50));
    if (waited > next_sign) {
      next_sign = waited + 1;
      if (settings_->while_waiting) settings_->while_waiting();
    }

    if (waited > settings_->timeout_s) {
      const double timeout_s = settings_->timeout_s;
      abort();
      DISSENT_FAIL(kComm,
                   "{} did not end within {} s (rank {} of {}, host {}): another rank hangs or has "
                   "terminated",
                   operation, timeout_s, rank(), size(), host_name());
    }
  }
}

void NcclCommunicator::all_reduce(at::Tensor& values, ReduceOp op) {
  check(values, "all_reduce");
  if (size() == 1 || values.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(values.device());
  DISSENT_NCCL(ncclAllReduce(values.data_ptr(), values.data_ptr(), values.numel(),
                             nccl_type(values.scalar_type()), nccl_op(op), comm_,
                             current_stream(device_)));
  wait("all_reduce", true);
}

at::Tensor NcclCommunicator::all_gather(const at::Tensor& local, std::span<const int64_t> counts) {
  check(local, "all_gather");
  DISSENT_CHECK(static_cast<int>(counts.size()) == size() && counts[rank()] == local.numel(),
                kInternal, "all_gather: expected counts [{2}], found {1} elements on rank {0}",
                rank(), local.numel(), fmt::join(counts, ", "));
  if (size() == 1) return local.reshape({-1});

  const c10::cuda::CUDAGuard guard(local.device());
  auto gathered =
      at::empty({std::accumulate(counts.begin(), counts.end(), int64_t{0})}, local.options());
  const ncclDataType_t type = nccl_type(local.scalar_type());
  const cudaStream_t stream = current_stream(device_);

  // NCCL's own all-gather needs equal counts: use one broadcast per rank, grouped into one
  // operation.
  DISSENT_NCCL(ncclGroupStart());
  auto* at = static_cast<char*>(gathered.data_ptr());
  for (int root = 0; root < size(); ++root) {
    if (counts[root] == 0) continue;
    DISSENT_NCCL(
        ncclBroadcast(local.const_data_ptr(), at, counts[root], type, root, comm_, stream));
    at += counts[root] * local.element_size();
  }
  DISSENT_NCCL(ncclGroupEnd());

  wait("all_gather", true);
  return gathered;
}

void NcclCommunicator::broadcast(at::Tensor& values, int root) {
  check(values, "broadcast");
  if (size() == 1 || values.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(values.device());
  DISSENT_NCCL(ncclBroadcast(values.data_ptr(), values.data_ptr(), values.numel(),
                             nccl_type(values.scalar_type()), root, comm_,
                             current_stream(device_)));
  wait("broadcast", true);
}

void NcclCommunicator::barrier() {
  check_open("barrier");

  // First the own stream, then the other ranks: together, all devices have finished.
  wait("barrier", true);
  group_->barrier();
}

std::unique_ptr<Communicator> NcclCommunicator::split(int colour, int key) {
  return std::make_unique<NcclCommunicator>(group_->split(colour, key), nullptr, device_);
}

std::unique_ptr<Communicator> NcclCommunicator::split_by_node() {
  return std::make_unique<NcclCommunicator>(group_->split_by_node(), nullptr, device_);
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& mpi_group, int device) {
  return std::make_unique<NcclCommunicator>(nullptr, &mpi_group, device);
}

}  // namespace dissent
