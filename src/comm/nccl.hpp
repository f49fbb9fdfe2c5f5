#pragma once
#include <cuda_runtime_api.h>
#include <nccl.h>

#include "comm/communicator.hpp"

namespace dissent {

/// Throws Error::kComm with NCCL's own message unless the call succeeded or goes on in the
/// background (communicators here never block).
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

/// Loads LibTorch's CUDA library, which programs do not link: its second of start-up is for those
/// that use a GPU. Call it before anything asks LibTorch about CUDA (the answer is kept): before
/// the first convolution, batch norm, backward pass or seed, on the CPU too (prepare_device).
/// Error::kComm where it cannot be loaded, Error::kInternal where that was too late.
void load_cuda();

/// Device-memory group over NCCL: one GPU a rank. Each operation goes onto the device's current
/// stream, behind the work that makes its values, and returns when it has ended there; meanwhile
/// NCCL's errors are polled and the group's signs of life are given. Timeout and signs are the
/// wait settings of the MPI group. After a timeout or an error the group is aborted and of no more
/// use.
/// Sums may be added in another order than MpiCommunicator's: equal to a tolerance, the same from
/// run to run for a fixed group.
class NcclCommunicator final : public Communicator {
 public:
  /// Collective over the MPI group, whose rank 0 makes NCCL's id. The group carries barrier() and
  /// split() too.
  /// mpi_group  the ranks of the new group, or nullptr where `borrowed` is given; host memory
  /// device     index of this rank's GPU; ranks that share one need NCCL_HOSTID to differ (for
  ///            tests)
  NcclCommunicator(std::unique_ptr<Communicator> mpi_group, Communicator* borrowed, int device);
  /// Closes; while unwinding it aborts instead, which needs no other rank.
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  const char* backend() const override { return "nccl"; }
  void all_reduce(at::Tensor& values, ReduceOp op) override;
  at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) override;
  void broadcast(at::Tensor& values, int root) override;
  /// Waits for this rank's stream, then for the MPI group.
  void barrier() override;
  std::unique_ptr<Communicator> split(int colour, int key) override;
  std::unique_ptr<Communicator> split_by_node() override;
  /// Collective: ends the group. Nothing to do where it was aborted.
  void close();

 private:
  /// Error::kComm if the group was closed or aborted.
  void check_open(const char* operation) const;
  /// The same, and Error::kInternal unless the tensor is contiguous on this rank's GPU.
  void check(const at::Tensor& tensor, const char* operation) const;
  /// Until NCCL has taken the call (poll of its error state) and, with_stream, the stream has done
  /// it.
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
