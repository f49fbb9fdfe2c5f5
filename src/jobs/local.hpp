#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "jobs/queue.hpp"

namespace dissent::jobs {

/// The resources of this machine that jobs may use.
struct LocalOptions {
  std::vector<int> cores;           ///< each rank is bound to `threads` of them
  std::vector<std::string> gpus;    ///< as CUDA_VISIBLE_DEVICES names them
  std::vector<std::string> mpirun;  ///< launcher for several ranks; "-n RANKS" is appended
  int64_t pack_ranks = 0;           ///< ranks of the MPI jobs that smaller jobs are packed into; 0:
                                    ///< no packing
};

/// Runs the picked jobs on this machine, as many at a time as its cores and GPUs allow, in the
/// order of the sheet and of `after`; waits for those that other runners have started. A job with
/// more ranks than cores runs alone. Each job is a separate process, which continues and records
/// how it ended even if this one is killed. SIGINT or SIGTERM: every job is requested to write a
/// checkpoint. Reports to stderr, one line per event.
/// returns 0: all are done; 75: stopped by a signal; 5: some are not done
int run_local(Queue& queue, const LocalOptions& options);

}  // namespace dissent::jobs
