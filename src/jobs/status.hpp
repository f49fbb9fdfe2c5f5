#pragma once
#include <string>
#include <vector>

#include "jobs/job.hpp"
#include "jobs/progress.hpp"
#include "jobs/slurm.hpp"
#include "jobs/state.hpp"

namespace dissent::jobs {

enum class Phase {
  kNotEnabled,  ///< the sheet says so
  kWaiting,     ///< not submitted
  kSubmitting,  ///< a submitter has it in hand
  kPending,     ///< in a queue
  kRunning,
  kPreempted,  ///< stopped before its end and in the queue again
  kDone,
  kFailed,
  kCancelled,
  kLost,  ///< submitted or begun, and nobody runs it
};
const char* phase_name(Phase phase);
/// Submitting again starts a new attempt.
bool may_start(Phase phase);
/// Somebody will carry it on.
bool is_under_way(Phase phase);

struct Status {
  Phase phase = Phase::kWaiting;
  std::string detail;  ///< "epoch 3 of 11, 12 min left"; why it waits; the last error line
  std::string where;   ///< "slurm 123_4", "local n1:8321"
  std::string host;    ///< of the process that runs it, or ran it last
  std::string log;     ///< of one that failed: the file that has all that it said
  bool again = false;  ///< waits because its result is asked for anew (asked_again)
  double wall_s = 0;
  Progress progress;
  JobState state;
};

/// What is true of a job, in this order: how the batch script says that it ended; signs of life and
/// progress files; squeue; sacct.
///   job: resolution.runs and hashes tell whether a run was finished by other means
Status status_of(const Job& job, const std::string& state_root, Slurm& slurm);

/// Says in the detail of each job that is done which of those that it runs after have been run
/// since. For what is shown: it reads the state of all of these.
void note_run_since(const std::vector<Job>& jobs, std::vector<Status>& statuses,
                    const std::string& state_root);

/// Says in the detail of each job that has not begun, and will not, because of one that it runs
/// after: "not started: `bad` failed". all: of the sheet, jobs: those of statuses.
void note_not_started(const std::vector<Job>& all, const std::vector<Job>& jobs,
                      std::vector<Status>& statuses, const std::string& state_root, Slurm& slurm);
/// "`bad` failed", "`bad` was cancelled".
std::string how_it_ended(const std::string& name, Phase phase);

/// Notes which jobs that are done have whether_to_run = 0 in their sheet (put_off), so that a 1
/// there is known for a change.
void note_off(const std::vector<Job>& jobs, const std::string& state_root, Slurm& slurm);

/// A line a job, and the counts.
std::string status_table(const std::vector<Job>& jobs, const std::vector<Status>& statuses);

/// Whether status_csv writes this column anew: job, status, detail, .., last:FIGURE,
/// whether_to_run.
bool is_status_column(const std::string& column);
/// The sheet, a line a job after expansion, with the columns job, status, detail, where,
/// run_folder, walltime_s, epoch, and one for each figure of the last line of train.csv
/// ("last:accuracy_ensemble") behind its own. Columns of such a name that the sheet has already are
/// replaced. whether_to_run is 0 for jobs that are done or under way, as their runner wrote it.
std::string status_csv(const Sheet& sheet, const std::vector<Job>& jobs,
                       const std::vector<Status>& statuses);

/// "12 s", "3.5 min", "2.1 h", "3 d".
std::string duration_text(double seconds);

}  // namespace dissent::jobs
