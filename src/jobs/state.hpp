#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/process.hpp"
#include "jobs/job.hpp"

namespace dissent::jobs {

// The state of a job: small files in <state>/<key>/. Each is complete or absent. Only `beat` is
// ever rewritten; the others are created once by link(2), which exactly one of several processes on
// a shared file system wins, so no locks are needed. n counts attempts (one per submission), r the
// starts of one attempt (after a requeue or a failure).
//   attempt.<n>     created by the submitter that won: what is to be run
//   submitted.<n>   the job id that Slurm returned
//   start.<n>.<r>
//       created by the process that runs the job, or ("abandoned") by one that declares the attempt
//       lost. The file can be created only once, so the other process does not run the attempt
//   beat.<n>        heartbeat, rewritten every few seconds; also how the start ended
//   stop.<n>.<r>    how this start ended; `is_final` if the attempt is over
//   again.<n>       the result of this attempt is to be computed again
//   off-<sheet>.<n>
//       a sheet's cell whether_to_run was 0 when this attempt was done
//   exit            exit code as the program itself reports it (storage/exit_record.hpp)
//   stdout.txt, stderr.txt
// Any one of them may be deleted: what it said follows from the other files, from Slurm and from
// the run's folder.

/// How a start ended.
enum class EndReason {
  kUnknown,
  kDone,
  kFailed,
  kTimeLimit,   ///< stopped shortly before the job's time limit
  kTerminated,  ///< SIGTERM under Slurm: preempted or cancelled, which Slurm knows
  kCancelled,   ///< SIGTERM elsewhere, or declared lost by another process
  kLost,        ///< its process no longer exists and left no record of its end
};
/// "time limit", as the state files and messages have it.
const char* end_name(EndReason reason);

/// What runs an attempt.
enum class Backend {
  kUnknown,
  kLocal,
  kSlurm,
  kPack,  ///< `dissent jobs pack`, together with other jobs
};

/// What is to be run: a copy of the job as it was submitted.
struct Attempt {
  int64_t number = 0;
  std::string key, name, verb, sheet, directory;
  std::vector<std::string> command;  ///< arguments of the program
  std::vector<std::string> runs, inputs, after;
  int64_t ranks = 1, threads = 1, gpus = 0, retries = 2;
  bool stage = false;
  bool again = false;  ///< replaces a result, which stays until the new one is complete
  Backend backend = Backend::kUnknown;
  std::string batch;         ///< Slurm's job name, or the key of the pack
  int64_t index = -1;        ///< in a job array; -1: none
  int64_t signal_s = 0;      ///< Job::signal_s
  double wall_before_s = 0;  ///< wall time of earlier attempts at the same result
  ProcessId by;
  double time = 0;
};

struct Start {
  ProcessId by;
  double time = 0;
  std::string slurm_job;
  int64_t epoch = 0;         ///< epochs completed before
  int64_t err_offset = 0;    ///< size of stderr.txt before, bytes
  double wall_before_s = 0;  ///< wall time of earlier starts, lost ones included
  bool abandoned = false;
};

struct Stop {
  int64_t code = 0;  ///< an exit code, as wide as a record's number
  EndReason reason = EndReason::kUnknown;
  std::string message;  ///< last error line
  double wall_s = 0;    ///< since the start
  double time = 0;
  bool is_final = false;
};

struct Beat {
  ProcessId by;
  double time = 0;
  int64_t restart = 0;
  std::optional<Stop> stop;
};

/// What the files of the newest attempt say.
struct JobState {
  int64_t number = 0;  ///< number of the newest attempt, from 1; 0: none
  std::optional<Attempt> attempt;
  std::string submitted;  ///< "123" or "123_4"; "" if not
  std::vector<std::optional<Start>> starts;
  std::vector<std::optional<Stop>> stops;
  std::optional<Beat> beat;
  bool again = false;         ///< its result is to be computed again
  std::set<std::string> off;  ///< Job::sheet_mark of sheets whose whether_to_run was 0 since

  /// Whether a process has started the attempt.
  bool begun() const;
  /// Whether the attempt was declared lost before it started.
  bool abandoned() const;
  /// How the attempt ended; nothing if it is not over.
  std::optional<Stop> end() const;
  /// Whether the attempt is over and its result complete.
  bool is_done() const;
  /// Whether the process that runs it lives: on this host the process is looked up, else a
  /// heartbeat within the lease counts.
  bool alive() const;
  /// The newest start whose file exists; null if there is none.
  const Start* last_start() const;
  /// Wall time of all starts, seconds; lost ones count until their last heartbeat.
  double wall_s() const;
  /// Wall time of the last start until its last heartbeat, if its end was not recorded.
  double wall_without_end_s() const;
  /// Number of starts that failed or were lost, the running one excluded.
  int64_t failures() const;
};

/// <state>/<key>
std::string job_folder(const std::string& state, const std::string& key);
/// Reads the files of the newest attempt. Files that are missing or damaged are left out, and a
/// folder that does not exist gives number 0; never an error.
JobState read_state(const std::string& folder);

/// Each creates one of the files described above, and returns false if it exists already: then
/// another process was first. Error::kData if it cannot be created.
bool claim(const std::string& folder, const Attempt& attempt);
bool put_start(const std::string& folder, int64_t number, int64_t restart, const Start& start);
bool put_stop(const std::string& folder, int64_t number, int64_t restart, const Stop& stop);
bool put_submitted(const std::string& folder, int64_t number, const std::string& slurm_job);
/// Replaces the heartbeat. Error::kData if it cannot be written.
void put_beat(const std::string& folder, int64_t number, const Beat& beat);
/// Has the result of a finished attempt computed again (number 0: the result of a run that no job
/// made): the job waits again.
bool put_again(const std::string& folder, int64_t number);
/// Notes that the sheet's whether_to_run is 0 for a job that is done.
bool put_off(const std::string& folder, int64_t number, const std::string& sheet_mark);
/// Whether a job that is done is to be run again: after put_again, or where its whether_to_run was
/// 0 and is 1 now.
bool to_run_again(const Job& job, const JobState& state);
/// Declares an attempt lost that has not begun; false if it has begun.
bool abandon(const std::string& folder, int64_t number);

/// The next attempt at a job. again: with the option --again of verbs that have it, and with the
/// run folders that this option writes to.
Attempt attempt_of(const Job& job, int64_t number, const std::string& sheet, Backend backend,
                   bool again = false);

/// Seconds without a heartbeat after which a process counts as lost: DISSENT_JOBS_LEASE_S, default
/// 60.
double lease_s();

/// Creates a file with this text; false if it exists already. Safe on file systems that several
/// hosts share. Error::kData.
bool create_once(const std::string& path, const std::string& text);
/// Replaces a file; other processes may do so at the same time.
void replace(const std::string& path, const std::string& text);

}  // namespace dissent::jobs
