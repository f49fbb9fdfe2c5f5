#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jobs/state.hpp"

namespace dissent::jobs {

struct ExecuteOptions {
  std::vector<std::string> launcher;  ///< what the job's command follows: mpirun -n 4 dissent
  std::vector<std::pair<std::string, std::string>> environment = {};
  std::vector<int> cores = {};
  double grace_s = 100;  ///< after SIGUSR1: time to write a checkpoint before the job is queued
                         ///< again without one
  int64_t most_restarts = 100;  ///< starts of one attempt, failed or stopped by the time limit
};

/// Runs attempt `number` of a job in this process's place: starts the program, beats, passes
/// signals on, starts it again after failures that may pass, has Slurm queue it again, and writes
/// how it ended. Returns the exit code for the batch script.
///   - exit code 0: done. 2, 3, 5, 1: failed, for good
///   - a killed rank, exit code 4 or a signal: started again after 1, 2, 4, ... seconds, `retries`
///     times; a start that was lost with its node counts - SIGUSR1 (the time limit is near): passed
///     on; when a checkpoint is written (75), or after grace_s, the job is queued again: scontrol
///     requeue - SIGTERM: the program is asked for a checkpoint. Under Slurm the job is preempted
///     or cancelled, which Slurm knows; without it, it is cancelled - `stage`: caches are copied to
///     DISSENT_SCRATCH on every node before (the sign of life waits for that)
/// A start is refused (0, nothing is run) if the attempt is over, was declared lost, or another
/// process that lives runs it.
int execute(const std::string& folder, int64_t number, ExecuteOptions options);

/// Claims the next start of an attempt (execute.cpp; the pack uses it too). Nothing if it is not to
/// be started; then `why` says so.
std::optional<int64_t> begin(const std::string& folder, const Attempt& attempt, std::string& why);

/// Whether `dissent VERB` stops on a signal with 75, and goes on when it is started again; the
/// signal would kill another one.
bool can_stop(const std::string& verb);
/// What stays of such a verb when it is stopped: "a checkpoint is written".
std::string kept_text(const std::string& verb);

/// Whether an exit code may be another next time: a killed rank, a lost connection.
bool may_pass(int code);

}  // namespace dissent::jobs
