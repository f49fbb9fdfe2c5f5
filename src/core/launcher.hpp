#pragma once
#include <string>

namespace dissent {

/// What a launcher (mpirun, srun) told this process, from its environment.
struct Launched {
  int rank = 0;
  int ranks = 0;         ///< 0: no launcher
  bool has_mpi = false;  ///< the launcher offers a process manager that MPI can ask
  std::string by;        ///< the variable that says so
};
Launched launched();

}  // namespace dissent
