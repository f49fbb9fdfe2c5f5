#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jobs/state.hpp"

namespace dissent::jobs {

/// Default of ExecuteOptions::grace_s and of `jobs exec --grace`.
inline constexpr double kDefaultGraceS = 100;

struct ExecuteOptions {
  std::vector<std::string> launcher;  ///< precedes the program's arguments: mpirun -n 4 dissent
  std::vector<std::pair<std::string, std::string>> environment = {};
  std::vector<int> cores = {};
  double grace_s = kDefaultGraceS;  ///< after SIGUSR1: time to write a checkpoint; then the job is
                                    ///< requeued without one
  int64_t max_restarts = 100;       ///< starts of one attempt, failed or stopped by the time limit
};

/// Runs attempt `number` of a job of a sheet: starts the program, writes heartbeats, passes signals
/// on, starts it again after transient failures, has Slurm requeue the job, and records how it
/// ended. Returns the exit code for the batch script.
///   - exit code 0: done. 2, 3, 5, 1: failed permanently
///   - a killed rank, exit code 4 or a signal: started again after 1, 2, 4, ... seconds, `retries`
///     times. A start that was lost with its node counts
///   - SIGUSR1 (the time limit is near): passed on. When a checkpoint is written (75), or after
///     grace_s, the job is requeued: scontrol requeue
///   - SIGTERM: the program is requested to write a checkpoint. Under Slurm the job is preempted or
///     cancelled, which Slurm knows; elsewhere it is cancelled
///   - `stage`: caches are copied to DISSENT_SCRATCH on every node before (no heartbeats meanwhile)
/// A start is refused (0, nothing is run) if the attempt is over, was declared lost, or runs in
/// another live process.
int execute(const std::string& folder, int64_t number, ExecuteOptions options);

/// Runs one command without a sheet (`dissent VERB ARGS`) in a job of Slurm, with the same handling
/// of signals. Nothing is recorded, and a failure is not retried. Returns the exit code for the
/// batch script.
///   - SIGUSR1 to a verb that can be resumed: it stops (75) and the job is requeued, up to
///     max_restarts times. Another verb runs on. No limit is set to the time that a checkpoint
///     takes
///   - SIGTERM, SIGINT: the command is requested to stop; the job is not requeued (75)
/// command: the verb and its arguments, which follow options.launcher.
int execute_command(const std::vector<std::string>& command, const ExecuteOptions& options);

/// Name of the variable in which the batch script reports a signal (USR1, TERM or INT) that it
/// received before it became `jobs exec`.
constexpr const char* kEarlySignalVariable = "DISSENT_EARLY_SIGNAL";

/// Claims the next start of an attempt (`jobs pack` uses it too). Nothing if it must not be
/// started; then `why` gives the reason.
std::optional<int64_t> begin(const std::string& folder, const Attempt& attempt, std::string& why);

/// Whether `dissent VERB` stops on a signal with exit code 75 and resumes when it is started again;
/// other verbs are killed by the signal.
bool can_stop(const std::string& verb);
/// What remains of such a verb when it is stopped: "checkpoint written".
std::string kept_text(const std::string& verb);

/// Whether a failure with this exit code may be transient: a killed rank, a lost connection.
bool is_transient(int code);

}  // namespace dissent::jobs
