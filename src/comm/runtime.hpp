#pragma once
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace dissent {

/// Owns the state of the libraries that have any: MPI, and the order in which they are taken down. One lives in main (and in the main of MPI tests).
class Runtime {
 public:
  /// Starts MPI (MPI_THREAD_FUNNELED); without a launcher the world is one rank. Sets MPI_ERRORS_RETURN.
  Runtime(int argc, char** argv, double timeout_s = 600);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Communicator& world() { return *world_; }
  /// Called once the configuration is read: timeout of every later operation, for the world group and groups split from it afterwards.
  void set_timeout(double timeout_s);
  /// Ends every rank of the job at once with this exit code; for an error that only this rank has.
  [[noreturn]] void abort(int code);
  /// Cores that this process may use, shared fairly with the other ranks of the node that have the same set; OMP_NUM_THREADS wins.
  int default_threads();

 private:
  std::unique_ptr<Communicator> world_;
};

/// Name of this host.
std::string host_name();

}  // namespace dissent
