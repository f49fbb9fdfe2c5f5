#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace dissent {

/// When MPI is initialised: if a launcher started this process (core/launcher.hpp), or always.
/// Without MPI the world is a self communicator, and HDF5 uses its own driver.
enum class UseMpi { kIfLaunched, kAlways };

/// Owns the global state of libraries, in particular MPI, and the order in which it is finalised.
/// There is one object, in main (and in the main of MPI tests).
class Runtime {
 public:
  /// Initialises MPI (MPI_THREAD_FUNNELED) and sets MPI_ERRORS_RETURN. Error::kComm if a launcher
  /// started several processes that MPI cannot connect (srun without PMI).
  Runtime(int argc, char** argv, double timeout_s = 600, UseMpi use = UseMpi::kIfLaunched);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Communicator& world() { return *world_; }
  /// Replaces the world by another group and returns the previous one: each job of a pack has its
  /// own world. Not collective.
  std::unique_ptr<Communicator> exchange_world(std::unique_ptr<Communicator> world) {
    world_.swap(world);
    return world;
  }
  /// Aborts all ranks of the job with this exit code; for an error that only this rank has.
  [[noreturn]] void abort(int code);
  /// True for the first rank of its node that calls it: if several ranks fail independently, only
  /// one of them prints its error. Does not communicate.
  bool first_to_fail();
  /// Number of cores that this process may use, divided by the number of ranks of the node with the
  /// same set of cores; OMP_NUM_THREADS takes precedence.
  int default_threads();

 private:
  struct FailureMark;
  bool mpi_ = false;
  std::unique_ptr<Communicator> world_;
  std::unique_ptr<FailureMark> mark_;
};

/// Name of this host.
std::string host_name();

}  // namespace dissent
