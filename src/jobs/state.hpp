#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "jobs/job.hpp"
#include "jobs/process.hpp"

namespace dissent::jobs {

// The state of a job: small files in <state>/<key>/, each there whole or not at all. Only `beat` is
// ever rewritten; the others are created once, by link(2), which one of several processes on a
// shared file system wins: no locks. n counts attempts (a submission each), r the starts of one
// attempt (queued again, started again).
//   attempt.<n>     made by the submitter that won: what is to be run
//   submitted.<n>   the number that Slurm gave
//   start.<n>.<r>
//       made by the process that runs it, or ("abandoned") by one that declares the attempt lost:
//       who comes second leaves it alone
//   beat.<n>        sign of life, rewritten every few seconds, and how it ended
//   stop.<n>.<r>    how this start ended; `final` if the attempt is over
//   again.<n>       the result of this attempt is asked for anew
//   off-<sheet>.<n>
//       a sheet's cell whether_to_run was 0 when this attempt was done
//   exit            what the program itself says of its end (storage/exit_record.hpp)
//   stdout.txt, stderr.txt
// Any one of them may be deleted: what it said follows from the others, from Slurm and from the
// run's folder.

/// What is to be run; a copy of the job as it was submitted.
struct Attempt {
  int64_t number = 0;
  std::string key, name, verb, sheet, directory;
  std::vector<std::string> command;  ///< arguments of the program
  std::vector<std::string> runs, inputs, after;
  int64_t ranks = 1, threads = 1, gpus = 0, retries = 2;
  bool stage = false;
  bool again = false;        ///< a result is there, and stays until the new one takes its place
  std::string backend;       ///< "local", "slurm" or "pack"
  std::string batch;         ///< Slurm's job name, or the key of the pack
  int64_t index = -1;        ///< in an array; -1: none
  int64_t signal_s = 0;      ///< Job::signal_s
  double wall_before_s = 0;  ///< wall time of the attempts before, of the same result
  ProcessName by;
  double time = 0;
};

struct Start {
  ProcessName by;
  double time = 0;
  std::string slurm_job;
  int64_t epoch = 0;         ///< epochs done before
  int64_t err_offset = 0;    ///< bytes of stderr.txt before
  double wall_before_s = 0;  ///< wall time of the starts before, lost ones included
  bool abandoned = false;
};

struct Stop {
  int64_t code = 0;     ///< an exit code, as wide as a record's number
  std::string reason;   ///< "done", "failed", "time limit", "terminated", "cancelled"
  std::string message;  ///< last error line
  double wall_s = 0;    ///< since the start
  double time = 0;
  bool is_final = false;
};

struct Beat {
  ProcessName by;
  double time = 0;
  int64_t restart = 0;
  std::optional<Stop> stop;
};

/// All that the files of the newest attempt say.
struct JobState {
  int64_t number = 0;  ///< of the newest attempt, from 1; 0: none
  std::optional<Attempt> attempt;
  std::string submitted;  ///< "123" or "123_4"; "" if not
  std::vector<std::optional<Start>> starts;
  std::vector<std::optional<Stop>> stops;
  std::optional<Beat> beat;
  bool again = false;         ///< its result is asked for anew
  std::set<std::string> off;  ///< Job::sheet_mark of sheets whose whether_to_run was 0 since

  bool begun() const;
  bool abandoned() const;
  /// How it ended, if it did.
  std::optional<Stop> end() const;
  /// Whether the process that runs it lives: for one of this host the process itself, else a sign
  /// of life within the lease.
  bool alive() const;
  const Start* last_start() const;
  /// Wall time of all starts, seconds: of lost ones until their last sign of life.
  double wall_s() const;
  /// Of the last start alone, which nobody wrote the end of, until its last sign of life.
  double wall_without_end_s() const;
  /// Starts that failed or were lost, of those that are over.
  int64_t failures() const;
};

/// <state>/<key>
std::string job_folder(const std::string& state, const std::string& key);
JobState read_state(const std::string& folder);

/// Each returns false if the file is there already.
bool claim(const std::string& folder, const Attempt& attempt);
bool put_start(const std::string& folder, int64_t number, int64_t restart, const Start& start);
bool put_stop(const std::string& folder, int64_t number, int64_t restart, const Stop& stop);
bool put_submitted(const std::string& folder, int64_t number, const std::string& slurm_job);
void put_beat(const std::string& folder, int64_t number, const Beat& beat);
/// Asks for the result of a finished attempt anew (number 0: of a run that no job made): the job
/// waits again.
bool put_again(const std::string& folder, int64_t number);
/// Notes that the sheet's whether_to_run is 0 for a job that is done.
bool put_off(const std::string& folder, int64_t number, const std::string& sheet_mark);
/// Whether a job that is done is to be run anew: put_again, or its whether_to_run was 0 and is 1.
bool asked_again(const Job& job, const JobState& state);
/// Declares an attempt lost that has not begun; false if it has.
bool abandon(const std::string& folder, int64_t number);

/// The attempt that a job makes. again: with the verb's option --again where it has one, and with
/// its runs where that option puts them.
Attempt attempt_of(const Job& job, int64_t number, const std::string& sheet,
                   const std::string& backend, bool again = false);

/// Seconds without a sign of life after which a process is taken for lost: DISSENT_JOBS_LEASE_S,
/// else 60.
double lease_s();

/// Creates a file with this text; false if there is one, whoever made it. Safe on file systems that
/// several hosts share. Error::kData.
bool create_once(const std::string& path, const std::string& text);
/// Replaces a file; other processes may do the same at the same time.
void replace(const std::string& path, const std::string& text);

}  // namespace dissent::jobs
