#pragma once
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstdint>
#include <memory>
#include <span>

#include "comm/communicator.hpp"

namespace dissent {

/// Throws Error::kComm with NCCL's own message unless the call succeeded or is in progress
/// (communicators here are non-blocking).
#define DISSENT_NCCL(call)                                                       \
  do {                                                                           \
    const ncclResult_t dissent_nccl_code = (call);                               \
    if (dissent_nccl_code != ncclSuccess && dissent_nccl_code != ncclInProgress) \
      ::dissent::raise_nccl_error(dissent_nccl_code, #call, __FILE__, __LINE__); \
  } while (false)
/// Throws Error::kComm with CUDA's own message unless the call returned cudaSuccess.
#define DISSENT_CUDA(call)                                                       \
  do {                                                                           \
    const cudaError_t dissent_cuda_code = (call);                                \
    if (dissent_cuda_code != cudaSuccess)                                        \
      ::dissent::raise_cuda_error(dissent_cuda_code, #call, __FILE__, __LINE__); \
  } while (false)
[[noreturn]] void raise_nccl_error(ncclResult_t code, const char* call, const char* file, int line);
[[noreturn]] void raise_cuda_error(cudaError_t code, const char* call, const char* file, int line);

/// Loads LibTorch's CUDA library. Programs do not link it, since it costs a second of start-up that
/// only runs on a GPU need. Has to be called before LibTorch first checks for CUDA (it caches the
/// answer): before the first convolution, batch norm, backward pass or seed, also on the CPU
/// (prepare_device). Error::kComm if it cannot be loaded, Error::kInternal if it was too late.
void load_cuda();

/// Device-memory group over NCCL with one GPU per rank. Each operation is enqueued on the device's
/// current stream, after the work that computes its values, and returns when it has finished there;
/// meanwhile NCCL's errors are polled and heartbeats are sent. Timeout and heartbeat are the wait
/// settings of the MPI group. After a timeout or an error the group is aborted and cannot be used
/// any more.
/// Sums may be added in another order than by MpiCommunicator: equal up to a tolerance, and bitwise
/// the same from run to run for a fixed group.
class NcclCommunicator final : public Communicator {
 public:
  /// Collective over the MPI group, whose rank 0 creates NCCL's id. barrier() and split() use the
  /// MPI group too.
  /// mpi_group  the ranks of the new group, over host memory; nullptr if `borrowed` is given
  /// borrowed   the same, not owned: it has to outlive this object
  /// device     index of this rank's GPU; ranks that share a GPU, in tests, need different values
  ///            of NCCL_HOSTID
  NcclCommunicator(std::unique_ptr<Communicator> mpi_group, Communicator* borrowed, int device);
  /// Closes the group; during stack unwinding aborts it instead, which needs no other rank.
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  Backend backend() const override { return Backend::kNccl; }
  void all_reduce(at::Tensor& values, ReduceOp op) override;
  at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) override;
  void broadcast(at::Tensor& values, int root) override;
  /// Waits for this rank's stream, then for the MPI group.
  void barrier() override;
  std::unique_ptr<Communicator> split(int colour, int key) override;
  std::unique_ptr<Communicator> split_by_node() override;
  /// Ends the group; does nothing if it was aborted. Collective.
  void close();

 private:
  /// Error::kComm if the group was closed or aborted.
  void check_open(const char* operation) const;
  /// The same, and Error::kInternal unless the tensor is contiguous on this rank's GPU.
  void check(const at::Tensor& tensor, const char* operation) const;
  /// Waits until NCCL has accepted the call (polling its error state) and, if with_stream, the
  /// stream has executed it.
  void wait(const char* operation, bool with_stream);
  void abort() noexcept;

  std::unique_ptr<Communicator> owned_group_;
  Communicator* group_;
  int device_;
  ncclComm_t comm_ = nullptr;
};

/// Collective over the MPI group, which has to outlive the result. device: index of this rank's
/// GPU. Error::kComm on every rank if any fails.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& mpi_group, int device);

}  // namespace dissent
