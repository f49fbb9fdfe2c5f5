#include "jobs/status.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "core/enum_names.hpp"
#include "core/exit_codes.hpp"
#include "core/process.hpp"
#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"
#include "storage/run_folder.hpp"

namespace dissent::jobs {
namespace {

// All run folders are finished and belong to this configuration.
bool finished_elsewhere(const Job& job, const Progress& progress) {
  const auto& runs = job.resolution.runs;
  const auto& hashes = job.resolution.hashes;
  if (!progress.finished || hashes.size() != runs.size()) return false;

  // A finished folder of the same name may come from another configuration, which the hash in its
  // provenance tells.
  for (size_t i = 0; i < runs.size(); ++i) {
    try {
      const auto json = parse_record(read_text(runs[i] + "/" + kProvenanceFile));
      if (json.value("config_hash", "") != hashes[i]) return false;
    } catch (const std::exception&) {
      return false;
    }
  }
  return true;
}

double newest_heartbeat(const std::vector<std::string>& runs) {
  // Modification times: the file system's clock, the same for all ranks.
  double newest = 0;
  for (const auto& run : runs) {
    std::error_code ignored;
    for (std::filesystem::directory_iterator at(run, ignored), end; !ignored && at != end;
         at.increment(ignored)) {
      struct stat status;
      if (at->path().filename().string().starts_with(kHeartbeatPrefix) &&
          ::stat(at->path().c_str(), &status) == 0)
        newest = std::max(newest, static_cast<double>(status.st_mtim.tv_sec));
    }
  }
  return newest;
}

// Seconds until the end at the pace of this start; nothing while it cannot be estimated.
std::optional<double> remaining_s(const Start& start, bool first_start, const Progress& progress) {
  // left = (time per epoch of this start) x (epochs to do) - (time since the last epoch ended).
  // Epochs before this start do not count: they may have run on other hardware.
  const auto epochs = static_cast<double>(progress.epochs);
  const int64_t done = progress.epoch - start.epoch;
  if (done > 0 && progress.epochs > 0) {
    const double epoch_s = (progress.time - start.time) / static_cast<double>(done);
    const double left = epoch_s * static_cast<double>(progress.epochs - progress.epoch);
    return std::max(0.0, left - (now_s() - progress.time));
  }

  // The first epoch may take hours, so the time is estimated from its steps. A later start may have
  // resumed in the middle of an epoch, so its number of steps says nothing about its pace.
  const bool first_epoch = start.epoch == 0 && first_start;
  if (!first_epoch || progress.step == 0 || progress.steps == 0) return std::nullopt;
  const double epoch_s = (progress.step_time - start.time) * static_cast<double>(progress.steps) /
                         static_cast<double>(progress.step);
  return std::max(0.0, epoch_s * epochs - (now_s() - start.time));
}

std::string running_text(const Status& status, const std::vector<std::string>& runs) {
  const auto& progress = status.progress;
  const Start* start = status.state.last_start();
  std::string text;
  if (progress.epochs > 0) text = fmt::format("{} of {} epochs", progress.epoch, progress.epochs);
  if (progress.steps > 0 && progress.epoch < progress.epochs)
    text += fmt::format(", step {} of {}", progress.step, progress.steps);
  if (start) {
    const auto left = remaining_s(*start, status.state.starts.size() == 1, progress);
    if (left) text += fmt::format(", {} left", duration_text(*left));
  }

  // `jobs exec` writes the job's heartbeat, so a rank that hangs shows only in the ranks' own
  // files.
  const double heartbeat = newest_heartbeat(runs), silent_s = now_s() - heartbeat;
  if (start && heartbeat > start->time && silent_s > lease_s())
    text += fmt::format(", no heartbeat for {}", duration_text(silent_s));

  const int64_t failures = status.state.failures();
  if (failures > 0) {
    if (!text.empty()) text += "; ";
    text += fmt::format("start {}, {} failed before", status.state.starts.size(), failures);
  }
  return text.empty() ? "started" : text;
}

// "stopped: time limit, checkpoint written; " of the last start that ended.
std::string last_stop_text(const JobState& state) {
  if (state.stops.empty() || !state.stops.back()) return "";
  const auto& stop = *state.stops.back();
  return fmt::format("stopped: {}{}{}; ", end_name(stop.reason), stop.message.empty() ? "" : ", ",
                     stop.message);
}

// For an attempt that Slurm has in its queue or runs.
void describe_active(Status& status, const SlurmJob& job) {
  // Slurm knows whether the job is in its queue; the state files know whether it has run before.
  const bool begun = status.state.begun();
  if (job.is_running()) {
    status.phase = Phase::kRunning;
    status.detail = begun ? "running according to Slurm; no heartbeat" : "starting";
  } else if (begun) {
    status.phase = Phase::kPreempted;
    status.detail = last_stop_text(status.state) + "requeued: " + job.reason;
  } else {
    status.phase = Phase::kPending;
    status.detail = job.reason;
  }
}

// For an attempt that was submitted to Slurm and has no heartbeat.
void ask_slurm(Status& status, const std::string& id, Slurm& slurm) {
  const auto& state = status.state;
  const bool begun = state.begun();
  const auto found = slurm.find(id, state.attempt ? state.attempt->time : now_s());
  status.where = "slurm " + id;
  if (found && found->is_active()) return describe_active(status, *found);

  // Nothing can be concluded without an answer: the job counts as active.
  if (!found && !slurm.answers()) {
    status.phase = begun ? Phase::kRunning : Phase::kPending;
    status.detail = fmt::format("unknown: squeue failed ({})", slurm.problem());
    return;
  }

  // A SIGTERM to the batch script that no requeue followed was a cancellation.
  const Stop* stop = !state.stops.empty() && state.stops.back() ? &*state.stops.back() : nullptr;
  if (stop && stop->reason == EndReason::kTerminated) {
    status.phase = Phase::kCancelled;
    status.detail = fmt::format("after {}{}", duration_text(state.wall_s()),
                                stop->code == kExitStopped ? ", checkpoint written" : "");
    return;
  }

  // Slurm reports how the job left its queue. Without a report the job counts as lost: no process
  // runs it, and nothing shows that it was cancelled.
  status.phase = found && found->is_cancelled() ? Phase::kCancelled : Phase::kLost;
  const std::string what = begun ? "started, but no process is running it" : "never started";
  status.detail = found ? fmt::format("state {} in Slurm; {}", found->state, what)
                        : fmt::format("job {} is unknown to Slurm; {}", id, what);
}

// Slurm's job id of an attempt: as the submitter recorded it, else that of the queued job with the
// batch's name, else as a start recorded it; "" if none is known.
std::string slurm_id(const JobState& state, Slurm& slurm) {
  // Without the job id a job that Slurm has would look lost, and be submitted twice.
  std::string id = state.submitted;
  if (id.empty() && state.attempt && state.attempt->backend == Backend::kSlurm)
    if (const auto found =
            slurm.find_by_batch(state.attempt->batch, state.attempt->index, state.attempt->time))
      id = found->id;
  for (const auto& start : state.starts)
    if (id.empty() && start) id = start->slurm_job;
  return id;
}

// Its submitter may still submit it.
bool claim_is_fresh(const Attempt& attempt) {
  return is_alive(attempt.by).value_or(now_s() - attempt.time < lease_s());
}

// For an attempt that runs, or will run, in a pack.
void ask_pack(Status& status, const std::string& state_root, Slurm& slurm) {
  const auto& attempt = *status.state.attempt;

  // A pack is a job itself, with state files under its own key, so its status is found in the same
  // way.
  Job packed;
  packed.key = attempt.batch;
  packed.name = attempt.batch;
  const Status pack = status_of(packed, state_root, slurm);
  status.where = "in " + attempt.batch;

  if (pack.phase == Phase::kWaiting && claim_is_fresh(attempt)) {
    status.phase = Phase::kSubmitting;
    return;
  }

  // While the pack is queued or runs, its groups of ranks still take rows: this one may yet run.
  if (is_under_way(pack.phase)) {
    status.phase = status.state.begun() ? Phase::kPreempted : Phase::kPending;
    status.detail = fmt::format("the pack is {}", phase_name(pack.phase));
    return;
  }
  status.phase = Phase::kLost;
  status.detail = fmt::format("the pack ended before this job finished: {} {}",
                              phase_name(pack.phase), pack.detail);
}

// For an attempt that is not over and has no heartbeat.
void without_heartbeat(Status& status, const std::string& state_root, Slurm& slurm) {
  const auto& state = status.state;
  const auto& attempt = state.attempt;
  if (attempt && attempt->backend == Backend::kPack) return ask_pack(status, state_root, slurm);

  if (const auto id = slurm_id(state, slurm); !id.empty()) return ask_slurm(status, id, slurm);

  // Between the claim and the record of the id the submitter is calling sbatch.
  if (!state.begun() && !state.abandoned() && attempt && claim_is_fresh(*attempt)) {
    status.phase = Phase::kSubmitting;
    status.detail = fmt::format("by process {} on {}", attempt->by.pid, attempt->by.host);
    return;
  }

  // Without an answer of squeue the job may be queued: it must not be submitted twice.
  const bool in_slurm =
      !state.submitted.empty() || (attempt && attempt->backend == Backend::kSlurm);
  if (in_slurm && !slurm.answers()) {
    status.phase = Phase::kPending;
    status.detail = fmt::format("unknown: squeue failed ({})", slurm.problem());
    return;
  }
  status.phase = Phase::kLost;
  status.detail = state.begun()       ? "started, but its process no longer exists"
                  : state.abandoned() ? "cancelled before it started"
                                      : "never started; the submitting process no longer exists";
}

constexpr EnumName<Phase> kPhases[] = {
    {Phase::kNotEnabled, "off"},  {Phase::kWaiting, "waiting"}, {Phase::kSubmitting, "submitting"},
    {Phase::kPending, "pending"}, {Phase::kRunning, "running"}, {Phase::kPreempted, "preempted"},
    {Phase::kDone, "done"},       {Phase::kFailed, "failed"},   {Phase::kCancelled, "cancelled"},
    {Phase::kLost, "lost"}};

}  // namespace

const char* phase_name(Phase phase) { return name_in(kPhases, phase); }

bool may_start(Phase phase) {
  return phase == Phase::kWaiting || phase == Phase::kFailed || phase == Phase::kCancelled ||
         phase == Phase::kLost;
}
bool is_under_way(Phase phase) {
  return phase == Phase::kSubmitting || phase == Phase::kPending || phase == Phase::kRunning ||
         phase == Phase::kPreempted;
}

namespace {

// Whether one start began after another. Clocks of hosts may differ.
bool began_after(const Start& start, const Start& earlier) {
  constexpr double kClocksDiffer_s = 60;
  return start.time > earlier.time + (start.by.host == earlier.by.host ? 0 : kClocksDiffer_s);
}

// For a job that is done: which of its dependencies were started after it, so that its result may
// have been computed from their earlier results, or from fewer.
std::string run_since(const Job& job, const JobState& state, const std::string& state_root) {
  // Compared by when they began: a dependency that was restarted meanwhile may have replaced the
  // files that this job has read.
  const Start* own = state.last_start();
  std::vector<std::string> names;
  for (size_t i = 0; own && i < job.after.size(); ++i) {
    const auto other = read_state(job_folder(state_root, job.after[i]));
    const auto stop = other.end();
    const Start* start = other.last_start();
    if (start && stop && stop->reason == EndReason::kDone && began_after(*start, *own))
      names.push_back(job.after_rows[i]);
  }

  if (names.empty()) return "";
  return fmt::format(
      "dependency {}{} ran after this job started; `jobs again --where name={}` reruns this row",
      names[0], names.size() > 1 ? fmt::format(" (and {} more)", names.size() - 1) : "", job.name);
}

Phase phase_of(EndReason reason) {
  switch (reason) {
    case EndReason::kDone: return Phase::kDone;
    case EndReason::kFailed: return Phase::kFailed;
    case EndReason::kLost: return Phase::kLost;
    default: return Phase::kCancelled;
  }
}

// A result that is to be computed again makes its job wait again.
bool waits_again(Status& status, const Job& job) {
  status.again = to_run_again(job, status.state);
  if (status.again) status.detail = "marked for a rerun; the old result is kept until it finishes";
  return status.again;
}

// For an attempt that is over.
void describe_end(Status& status, const Stop& end, const std::string& folder) {
  const auto& attempt = status.state.attempt;
  status.phase = phase_of(end.reason);
  status.detail = end.message;
  if (attempt && attempt->backend == Backend::kPack) status.where = "in " + attempt->batch;

  // Only a failure has a code and a log worth reading.
  if (status.phase != Phase::kFailed) return;

  status.detail = fmt::format("exit code {}: {}", end.code, end.message);
  const auto log = folder + "/stderr.txt";
  if (path_exists(log)) status.log = log;
}

// For an attempt whose process lives.
void describe_running(Status& status, const std::vector<std::string>& runs, Slurm& slurm) {
  const auto& state = status.state;
  status.phase = Phase::kRunning;

  // Dependent jobs need Slurm's job id even if the file with it was deleted.
  if (status.where.empty() && state.attempt && state.attempt->backend == Backend::kSlurm)
    if (const auto id = slurm_id(state, slurm); !id.empty()) status.where = "slurm " + id;
  const auto& by = state.beat ? state.beat->by : state.last_start()->by;
  if (status.where.empty()) status.where = fmt::format("{}:{}", by.host, by.pid);
  status.detail = running_text(status, runs);
}

Status status_once(const Job& job, const std::string& state_root, Slurm& slurm) {
  Status status;
  const auto folder = job_folder(state_root, job.key);
  status.state = read_state(folder);
  const auto& state = status.state;
  const bool done = state.is_done();

  // While a result is computed again its runs are in another folder; then they are moved.
  const auto& runs = state.attempt && !done ? state.attempt->runs : job.resolution.runs;
  status.progress = read_progress(runs);
  status.wall_s = state.wall_s();
  if (state.beat)
    status.host = state.beat->by.host;
  else if (const Start* start = state.last_start(); start && !start->abandoned)
    status.host = start->by.host;
  if (!state.submitted.empty()) status.where = "slurm " + state.submitted;

  // The order matters: a recorded end first, then a living process, then finished run folders (of
  // another sheet, or trained by hand), and only then what Slurm or the pack say.
  if (done && waits_again(status, job)) return status;
  if (const auto end = state.end()) {
    describe_end(status, *end, folder);
    return status;
  }

  if (state.alive()) {
    describe_running(status, runs, slurm);
    return status;
  }

  if (finished_elsewhere(job, status.progress)) {
    if (waits_again(status, job)) return status;
    status.phase = Phase::kDone;
    status.detail = "finished according to the run folder";
    return status;
  }

  if (state.number > 0) without_heartbeat(status, state_root, slurm);
  return status;
}

bool has_changed(const JobState& before, const JobState& now) {
  return before.number != now.number || before.submitted != now.submitted ||
         before.starts.size() != now.starts.size() || before.stops.size() != now.stops.size() ||
         before.beat.has_value() != now.beat.has_value() ||
         (now.beat && now.beat->time != before.beat->time);
}

}  // namespace

// Files and queue are not read at the same instant: a job that looks lost or cancelled may have
// begun or ended in between, so it is looked at again until nothing changes.
Status status_of(const Job& job, const std::string& state_root, Slurm& slurm) {
  Status status;
  status.phase = Phase::kNotEnabled;
  for (int round = 0; job.enabled && round < 4; ++round) {
    status = status_once(job, state_root, slurm);

    // No end is recorded, but nothing runs: only such a phase can come from reading in
    // between.
    const bool doubtful =
        (status.phase == Phase::kLost || status.phase == Phase::kCancelled) && !status.state.end();
    if (!doubtful || !has_changed(status.state, read_state(job_folder(state_root, job.key)))) break;
  }
  return status;
}

void note_run_since(const std::vector<Job>& jobs, std::vector<Status>& statuses,
                    const std::string& state_root) {
  for (size_t i = 0; i < jobs.size(); ++i)
    if (statuses[i].phase == Phase::kDone && statuses[i].detail.empty())
      statuses[i].detail = run_since(jobs[i], statuses[i].state, state_root);
}

std::string how_it_ended(const std::string& name, Phase phase) {
  return fmt::format("`{}` {}{}", name, phase == Phase::kFailed ? "" : "was ", phase_name(phase));
}

namespace {

// Finds, for jobs that will not start, the dependency that is the cause.
class NotStarted {
 public:
  NotStarted(const std::vector<Job>& all, const std::vector<Job>& jobs,
             std::vector<Status>& statuses, const std::string& state_root, Slurm& slurm)
      : state_root_(state_root), slurm_(slurm) {
    for (const auto& job : all)
      if (!job.key.empty()) by_key_[job.key] = &job;
    for (size_t i = 0; i < jobs.size(); ++i) known_[jobs[i].key] = &statuses[i];
  }

  void note(const Job& job, Status& status) {
    if (job.after.empty() || !never_began(status) || status.again) return;
    const auto key = cause_of(job);
    if (key.empty()) return;

    // A pending job may still start, unless what it waits for has failed. A job that Slurm removed
    // because its dependency failed looks lost, but it was cancelled.
    const auto& before = status_at(key);
    if (status.phase == Phase::kPending && before.phase != Phase::kFailed) return;
    if (status.phase == Phase::kLost) status.phase = Phase::kCancelled;
    status.detail = "not started: " + how_it_ended(by_key_.at(key)->name, before.phase);
  }

 private:
  static bool ended_badly(Phase phase) {
    return phase == Phase::kFailed || phase == Phase::kCancelled || phase == Phase::kLost;
  }
  static bool never_began(const Status& status) {
    const bool ended_itself = status.state.end() && status.phase == Phase::kFailed;
    return !status.state.begun() && !ended_itself &&
           (ended_badly(status.phase) || status.phase == Phase::kWaiting ||
            status.phase == Phase::kPending);
  }

  const Status& status_at(const std::string& key) {
    if (const auto at = known_.find(key); at != known_.end()) return *at->second;
    const auto [at, added] = others_.try_emplace(key);
    if (added) at->second = status_of(*by_key_.at(key), state_root_, slurm_);
    return at->second;
  }

  // Key of the first job before this one that ended badly itself; "" if there is none. The
  // recursion ends because dependencies have no cycles (make_jobs).
  std::string cause_of(const Job& job) {
    const auto [at, added] = causes_.try_emplace(job.key);
    if (!added) return at->second;

    // The entry exists now, so each job is visited once, however many rows wait for it. A cause
    // further up is preferred: it is what the user has to fix.
    std::string cause;
    for (const auto& key : job.after) {
      const auto& before = status_at(key);
      if (before.phase == Phase::kDone) continue;
      if (never_began(before)) cause = cause_of(*by_key_.at(key));
      if (cause.empty() && ended_badly(before.phase)) cause = key;
      if (!cause.empty()) break;
    }
    causes_[job.key] = cause;
    return cause;
  }

  const std::string& state_root_;
  Slurm& slurm_;
  std::map<std::string, const Job*> by_key_;
  std::map<std::string, Status*> known_;
  std::map<std::string, Status> others_;
  std::map<std::string, std::string> causes_;
};

}  // namespace

void note_not_started(const std::vector<Job>& all, const std::vector<Job>& jobs,
                      std::vector<Status>& statuses, const std::string& state_root, Slurm& slurm) {
  NotStarted causes(all, jobs, statuses, state_root, slurm);
  for (size_t i = 0; i < jobs.size(); ++i) causes.note(jobs[i], statuses[i]);
}

void note_off(const std::vector<Job>& jobs, const std::string& state_root, Slurm& slurm) {
  for (auto job : jobs) {
    if (job.off_key.empty()) continue;
    job.enabled = true;
    job.key = job.off_key;

    // A mark that the result exists while its row is off: a later 1 in the cell runs it again.
    const auto status = status_of(job, state_root, slurm);
    if (status.phase == Phase::kDone && !status.state.off.contains(job.sheet_mark))
      put_off(job_folder(state_root, job.key), status.state.number, job.sheet_mark);
  }
}

std::string duration_text(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} d", seconds / 86400);
}

}  // namespace dissent::jobs
