#pragma once
#include <mpi.h>

#include <cstdint>
#include <memory>
#include <span>

#include "comm/communicator.hpp"

namespace dissent {

/// Throws Error::kComm with MPI's own message unless the call returned MPI_SUCCESS
/// (MPI_ERRORS_RETURN is set on every group).
#define DISSENT_MPI(call)                                                      \
  do {                                                                         \
    const int dissent_mpi_code = (call);                                       \
    if (dissent_mpi_code != MPI_SUCCESS)                                       \
      ::dissent::raise_mpi_error(dissent_mpi_code, #call, __FILE__, __LINE__); \
  } while (false)
[[noreturn]] void raise_mpi_error(int code, const char* call, const char* file, int line);

/// Host-memory group over an MPI communicator. Each operation is the non-blocking call, then test
/// until done or timeout_s.
class MpiCommunicator final : public Communicator {
 public:
  /// Takes ownership of the handle if `owned`.
  MpiCommunicator(MPI_Comm handle, bool owned, double timeout_s);
  /// The same with the settings of another group.
  MpiCommunicator(MPI_Comm handle, bool owned, std::shared_ptr<WaitSettings> settings);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Backend backend() const override { return Backend::kMpi; }
  void all_reduce(at::Tensor& values, ReduceOp op) override;
  at::Tensor all_gather(const at::Tensor& local, std::span<const int64_t> counts) override;
  void broadcast(at::Tensor& values, int root) override;
  void barrier() override;
  std::unique_ptr<Communicator> split(int colour, int key) override;
  std::unique_ptr<Communicator> split_by_node() override;

  /// For parallel HDF5 and shared windows only.
  MPI_Comm handle() const { return handle_; }

 private:
  void wait(MPI_Request request, const char* operation);
  MPI_Comm handle_;
  bool owned_;
  int rank_ = 0;
  int size_ = 1;
};

/// The MPI handle behind a communicator; MPI_COMM_SELF for the self group. Error::kInternal for
/// others.
MPI_Comm mpi_handle(const Communicator& comm);

}  // namespace dissent
