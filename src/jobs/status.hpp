#pragma once
#include <string>
#include <vector>

#include "jobs/job.hpp"
#include "jobs/progress.hpp"
#include "jobs/slurm.hpp"
#include "jobs/state.hpp"

namespace dissent::jobs {

enum class Phase {
  kNotEnabled,  ///< disabled in the sheet
  kWaiting,     ///< not submitted
  kSubmitting,  ///< claimed by a submitter
  kPending,     ///< queued
  kRunning,
  kPreempted,  ///< stopped before its end and requeued
  kDone,
  kFailed,
  kCancelled,
  kLost,  ///< submitted or begun, and no process runs it
};
/// "off", "waiting", "running", "done", ...: as tables and messages have it.
const char* phase_name(Phase phase);
/// Submitting again starts a new attempt.
bool may_start(Phase phase);
/// A process, Slurm or a submitter continues it.
bool is_under_way(Phase phase);

struct Status {
  Phase phase = Phase::kWaiting;
  std::string detail;  ///< "3 of 11 epochs, 12 min left"; why it waits; the last error line
  std::string where;   ///< "slurm 123_4", "n1:8321"
  std::string host;    ///< of the process that runs it, or ran it last
  std::string log;     ///< of a failed job: the file with its complete stderr
  bool again = false;  ///< waits because its result is to be computed again (to_run_again)
  double wall_s = 0;
  Progress progress;
  JobState state;
};

/// Derives the status of a job from, in this order: the recorded end; heartbeats and progress
/// files; squeue; sacct.
///   job: resolution.runs and hashes tell whether its runs were finished without the sheet
Status status_of(const Job& job, const std::string& state_root, Slurm& slurm);

/// Notes in the detail of each job that is done which of its dependencies have run since. For
/// display: it reads the state of all dependencies.
void note_run_since(const std::vector<Job>& jobs, std::vector<Status>& statuses,
                    const std::string& state_root);

/// Notes in the detail of each job that will not start because of a dependency: "not started: `bad`
/// failed". all: all jobs of the sheet; jobs: those of statuses.
void note_not_started(const std::vector<Job>& all, const std::vector<Job>& jobs,
                      std::vector<Status>& statuses, const std::string& state_root, Slurm& slurm);
/// "`bad` failed", "`bad` was cancelled".
std::string how_it_ended(const std::string& name, Phase phase);

/// Records which jobs that are done have whether_to_run = 0 in their sheet (put_off), so that a
/// later 1 is recognised as a change.
void note_off(const std::vector<Job>& jobs, const std::string& state_root, Slurm& slurm);

/// One line per job, and the counts.
std::string status_table(const std::vector<Job>& jobs, const std::vector<Status>& statuses);

/// Whether status_csv writes this column: job, status, detail, ..., last:VALUE, whether_to_run.
bool is_status_column(const std::string& column);
/// The sheet, one line per job after expansion, followed by the columns job, status, detail, where,
/// run_folder, walltime_s, epoch, and one per value of the last line of train.csv
/// ("last:accuracy_ensemble"). Columns with such names that the sheet has already are replaced.
/// whether_to_run is 0 for jobs that are done or in progress, as stuned's runner writes it.
std::string status_csv(const Sheet& sheet, const std::vector<Job>& jobs,
                       const std::vector<Status>& statuses);

/// "12 s", "3.5 min", "2.1 h", "3 d".
std::string duration_text(double seconds);

}  // namespace dissent::jobs
