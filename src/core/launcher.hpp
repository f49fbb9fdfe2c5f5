#pragma once
#include <string>

namespace dissent {

/// Rank and size as set by a launcher (mpirun, srun) in the environment of this process.
struct Launched {
  int rank = 0;
  int ranks = 0;         ///< 0: no launcher
  bool has_mpi = false;  ///< the launcher provides a process manager for MPI (PMI, PMIx)
  std::string by;        ///< the environment variable that was found
};
Launched launched();

/// Whether this process prints messages and writes files on behalf of its job: rank 0, or any
/// process without a launcher that MPI can use.
bool is_first_rank();

/// For an error that every rank raises: ranks other than the first wait for a moment, so that the
/// first rank prints it before the launcher kills the job because of them.
void let_first_rank_speak();

}  // namespace dissent
