#include "comm/mpi.hpp"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <climits>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dissent {
namespace {

MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return MPI_FLOAT;
    case at::kDouble: return MPI_DOUBLE;
    case at::kInt: return MPI_INT32_T;
    case at::kLong: return MPI_INT64_T;
    case at::kByte: return MPI_UINT8_T;
    default: DISSENT_FAIL(kInternal, "no MPI type for tensors of {}", at::toString(type));
  }
}

MPI_Op mpi_op(ReduceOp op) {
  return op == ReduceOp::kSum ? MPI_SUM : op == ReduceOp::kMin ? MPI_MIN : MPI_MAX;
}

int checked_count(int64_t count) {
  DISSENT_CHECK(count <= INT_MAX, kInternal, "MPI message: expected at most {} elements, found {}",
                INT_MAX, count);
  return static_cast<int>(count);
}

void check_host(const at::Tensor& tensor, const char* operation) {
  DISSENT_CHECK(tensor.device().is_cpu() && tensor.is_contiguous(), kInternal,
                "{}: expected a contiguous tensor on the host, found another", operation);
}

}  // namespace

void raise_mpi_error(int code, const char* call, const char* file, int line) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw Error(ErrorKind::kComm,
              fmt::format("MPI call failed: {} ({})", std::string(text, length), call), file, line);
}

MpiCommunicator::MpiCommunicator(MPI_Comm handle, bool owned, double timeout_s)
    : MpiCommunicator(handle, owned, std::make_shared<WaitSettings>(WaitSettings{timeout_s, {}})) {}

MpiCommunicator::MpiCommunicator(MPI_Comm handle, bool owned,
                                 std::shared_ptr<WaitSettings> settings)
    : handle_(handle), owned_(owned) {
  settings_ = std::move(settings);
  DISSENT_MPI(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN));
  DISSENT_MPI(MPI_Comm_rank(handle_, &rank_));
  DISSENT_MPI(MPI_Comm_size(handle_, &size_));
}

MpiCommunicator::~MpiCommunicator() {
  // MPI_Comm_free is collective by the standard; Open MPI and MPICH free locally. During stack
  // unwinding the process is about to end, so nothing is freed.
  int finalized = 0;
  if (owned_ && std::uncaught_exceptions() == 0 && MPI_Finalized(&finalized) == MPI_SUCCESS &&
      !finalized)
    MPI_Comm_free(&handle_);
}

void MpiCommunicator::wait(MPI_Request request, const char* operation) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double next_sign = 1;
  int done = 0;

  // Collectives are non-blocking throughout, because a blocking one cannot time out.
  for (int64_t round = 0;; ++round) {
    DISSENT_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done) return;

    // Spin first, then yield, then sleep: short waits stay fast, long ones leave the core to other
    // ranks.
    if (round < 200) continue;  // a message within a node takes microseconds
    sched_yield();              // ranks may share a core
    if (round % 64 != 0) continue;
    const double waited = std::chrono::duration<double>(Clock::now() - start).count();
    if (waited > 0.02) std::this_thread::sleep_for(std::chrono::microseconds(50));

    // A heartbeat about once per second.
    if (waited > next_sign) {
      next_sign = waited + 1;
      if (settings_->while_waiting) settings_->while_waiting();
    }

    // MPI cannot cancel a collective: the request is abandoned.
    if (waited > settings_->timeout_s) {
      char host[256] = "?";
      gethostname(host, sizeof host - 1);
      DISSENT_FAIL(kComm,
                   "{} did not end within {} s (rank {} of {}, host {}): another rank hangs or has "
                   "terminated",
                   operation, settings_->timeout_s, rank_, size_, host);
    }
  }
}

void MpiCommunicator::all_reduce(at::Tensor& values, ReduceOp op) {
  check_host(values, "all_reduce");
  if (size_ == 1 || values.numel() == 0) return;
  MPI_Request request;
  DISSENT_MPI(MPI_Iallreduce(MPI_IN_PLACE, values.data_ptr(), checked_count(values.numel()),
                             mpi_type(values.scalar_type()), mpi_op(op), handle_, &request));
  wait(request, "all_reduce");
}

at::Tensor MpiCommunicator::all_gather(const at::Tensor& local, std::span<const int64_t> counts) {
  check_host(local, "all_gather");
  DISSENT_CHECK(static_cast<int>(counts.size()) == size_ && counts[rank_] == local.numel(),
                kInternal, "all_gather: expected counts [{2}], found {1} elements on rank {0}",
                rank_, local.numel(), fmt::join(counts, ", "));
  if (size_ == 1) return local.reshape({-1});

  // Parts may have any length, so each rank states where it puts them.
  std::vector<int> sizes, offsets;
  int64_t total = 0;
  for (const int64_t count : counts) {
    sizes.push_back(checked_count(count));
    offsets.push_back(checked_count(total));
    total += count;
  }

  auto gathered = at::empty({total}, local.options());
  const MPI_Datatype type = mpi_type(local.scalar_type());
  MPI_Request request;
  DISSENT_MPI(MPI_Iallgatherv(local.const_data_ptr(), sizes[rank_], type, gathered.data_ptr(),
                              sizes.data(), offsets.data(), type, handle_, &request));
  wait(request, "all_gather");
  return gathered;
}

void MpiCommunicator::broadcast(at::Tensor& values, int root) {
  check_host(values, "broadcast");
  if (size_ == 1 || values.numel() == 0) return;
  MPI_Request request;
  DISSENT_MPI(MPI_Ibcast(values.data_ptr(), checked_count(values.numel()),
                         mpi_type(values.scalar_type()), root, handle_, &request));
  wait(request, "broadcast");
}

void MpiCommunicator::barrier() {
  MPI_Request request;
  DISSENT_MPI(MPI_Ibarrier(handle_, &request));
  wait(request, "barrier");
}

std::unique_ptr<Communicator> MpiCommunicator::split(int colour, int key) {
  MPI_Comm group;
  DISSENT_MPI(MPI_Comm_split(handle_, colour, key, &group));
  return std::make_unique<MpiCommunicator>(group, true, settings_);
}

std::unique_ptr<Communicator> MpiCommunicator::split_by_node() {
  MPI_Comm group;
  DISSENT_MPI(MPI_Comm_split_type(handle_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &group));
  return std::make_unique<MpiCommunicator>(group, true, settings_);
}

MPI_Comm mpi_handle(const Communicator& comm) {
  if (const auto* mpi = dynamic_cast<const MpiCommunicator*>(&comm)) return mpi->handle();
  DISSENT_CHECK(comm.size() == 1, kInternal,
                "MPI handle: expected an MPI group, found another one of {} ranks", comm.size());
  return MPI_COMM_SELF;
}

}  // namespace dissent
