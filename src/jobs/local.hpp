#pragma once
#include <string>
#include <vector>

#include "jobs/queue.hpp"

namespace dissent::jobs {

/// What a machine lends to jobs.
struct LocalOptions {
  std::vector<int> cores;  ///< a rank takes `threads` of them; they are bound to it
  std::vector<std::string>
      gpus;  ///< as CUDA_VISIBLE_DEVICES names them; a job takes `gpus` of them
  std::vector<std::string>
      mpirun;              ///< the launcher of jobs of several ranks; "-n RANKS" is appended
  int64_t pack_ranks = 0;  ///< jobs of fewer ranks are packed into MPI jobs of so many; 0: not
};

/// Runs the picked jobs here, as many at a time as there are cores and GPUs for, in the order of
/// the sheet and of `after`; waits for those that others run. A job that does not fit the machine
/// runs alone. Each is a process of its own, which goes on and writes down how it ended even if
/// this one is killed. SIGINT or SIGTERM: every job is asked for a checkpoint. Reports to stderr, a
/// line an event.
/// returns 0: all are done; 75: stopped by a signal; 5: some are not done
int run_local(Queue& queue, const LocalOptions& options);

}  // namespace dissent::jobs
