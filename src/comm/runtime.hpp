#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace dissent {

/// When MPI is started: where a launcher started this process (core/launcher.hpp), or in any case.
/// Without it the world is a self communicator, and HDF5 uses its own driver.
enum class UseMpi { kIfLaunched, kAlways };

/// Owns the state of the libraries that have any: MPI, and the order in which they are taken down.
/// One lives in main (and in the main of MPI tests).
class Runtime {
 public:
  /// Starts MPI (MPI_THREAD_FUNNELED) and sets MPI_ERRORS_RETURN. Error::kComm where a launcher
  /// started several processes that MPI does not know of each other (srun without PMI).
  Runtime(int argc, char** argv, double timeout_s = 600, UseMpi use = UseMpi::kIfLaunched);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Communicator& world() { return *world_; }
  /// Takes another group for the world and returns the one before: each job of a pack has a world
  /// of its own. Not collective.
  std::unique_ptr<Communicator> exchange_world(std::unique_ptr<Communicator> world) {
    world_.swap(world);
    return world;
  }
  /// Ends every rank of the job at once with this exit code; for an error that only this rank has.
  [[noreturn]] void abort(int code);
  /// True for the first rank of its node that asks: where several ranks have an error of their own,
  /// one of them says so. Sends no message.
  bool first_to_fail();
  /// Cores that this process may use, shared fairly with the other ranks of the node that have the
  /// same set; OMP_NUM_THREADS wins.
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
