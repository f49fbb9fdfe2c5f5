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

/// Whether this process is the one of its job that speaks, and writes what one process writes: rank
/// 0, or any process that cannot know of others.
bool is_first_rank();

/// For an error that every rank of a job finds: waits a moment on the others, so that the first one
/// has said it before a launcher ends the job because of them.
void let_first_rank_speak();

}  // namespace dissent
