#include "jobs/status.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

namespace dissent::jobs {
namespace {

// Every run's folder says "finished" and is one of this configuration.
bool finished_elsewhere(const Job& job, const Progress& progress) {
  if (!progress.finished || job.resolution.hashes.size() != job.resolution.runs.size())
    return false;
  for (size_t i = 0; i < job.resolution.runs.size(); ++i) {
    try {
      const auto json = parse_record(read_text(job.resolution.runs[i] + "/provenance.json"));
      if (json.value("config_hash", "") != job.resolution.hashes[i]) return false;
    } catch (const std::exception&) {
      return false;
    }
  }
  return true;
}

double newest_heartbeat(const std::vector<std::string>& runs) {
  double newest = 0;
  for (const auto& run : runs) {
    std::error_code ignored;
    for (std::filesystem::directory_iterator at(run, ignored), end; !ignored && at != end;
         at.increment(ignored)) {
      struct stat status;
      if (at->path().filename().string().starts_with("heartbeat.") &&
          ::stat(at->path().c_str(), &status) == 0)
        newest = std::max(newest, static_cast<double>(status.st_mtim.tv_sec));
    }
  }
  return newest;
}

std::string running_text(const Status& status, const std::vector<std::string>& runs) {
  const auto& progress = status.progress;
  const Start* start = status.state.last_start();
  std::string text;
  if (progress.epochs > 0) text = fmt::format("{} of {} epochs", progress.epoch, progress.epochs);
  if (progress.steps > 0 && progress.epoch < progress.epochs)
    text += fmt::format(", step {} of {}", progress.step, progress.steps);
  const int64_t done = start ? progress.epoch - start->epoch : 0;
  if (start && done > 0 && progress.epochs > 0) {
    const double epoch_s = (progress.time - start->time) / static_cast<double>(done);
    text += fmt::format(", {} left",
                        duration_text(std::max(
                            0.0, epoch_s * static_cast<double>(progress.epochs - progress.epoch) -
                                     (now_s() - progress.time))));
  } else if (start && start->epoch == 0 && status.state.starts.size() == 1 && progress.step > 0 &&
             progress.steps > 0) {
    // The first epoch may take hours: from its steps. (A later start may have begun in the middle
    // of one.)
    const double epoch_s = (progress.step_time - start->time) *
                           static_cast<double>(progress.steps) / static_cast<double>(progress.step);
    text += fmt::format(", {} left",
                        duration_text(std::max(0.0, epoch_s * static_cast<double>(progress.epochs) -
                                                        (now_s() - start->time))));
  }
  const double heartbeat = newest_heartbeat(runs), silent = now_s() - heartbeat;
  if (heartbeat > 0 && start && heartbeat > start->time && silent > lease_s())
    text += fmt::format(", no sign of life of its ranks for {}", duration_text(silent));
  if (status.state.failures() > 0)
    text += fmt::format("{}start {}, after {} that failed", text.empty() ? "" : "; ",
                        status.state.starts.size(), status.state.failures());
  return text.empty() ? "begun" : text;
}

// What follows from Slurm for an attempt that it was given and that nobody is seen to run.
void ask_slurm(Status& status, const std::string& id, Slurm& slurm) {
  const bool begun = status.state.begun();
  const auto found = slurm.find(id, status.state.attempt ? status.state.attempt->time : now_s());
  status.where = "slurm " + id;
  if (found && found->lives()) {
    status.phase = found->state == "RUNNING" || found->state == "COMPLETING" ? Phase::kRunning
                   : begun                                                   ? Phase::kPreempted
                                                                             : Phase::kPending;
    const auto& stops = status.state.stops;
    const std::string last =
        !stops.empty() && stops.back()
            ? fmt::format("stopped: {}{}{}; ", stops.back()->reason,
                          stops.back()->message.empty() ? "" : ", ", stops.back()->message)
            : "";
    status.detail =
        status.phase == Phase::kRunning
            ? (begun ? "Slurm says that it runs; no sign of life" : "starting")
            : fmt::format("{}{}", begun ? last + "in the queue again: " : "", found->reason);
    return;
  }
  if (!found && !slurm.answers()) {
    status.phase = begun ? Phase::kRunning : Phase::kPending;
    status.detail = fmt::format("not known: squeue does not answer ({})", slurm.problem());
    return;
  }
  const bool cancelled = found && (found->state == "CANCELLED" || found->state == "DEADLINE" ||
                                   found->state == "REVOKED");
  const bool terminated = !status.state.stops.empty() && status.state.stops.back() &&
                          status.state.stops.back()->reason == "terminated";
  status.phase = cancelled || terminated ? Phase::kCancelled : Phase::kLost;
  const std::string what = begun ? "it began, and nobody runs it" : "it never began";
  if (terminated)
    status.detail =
        fmt::format("after {}{}", duration_text(status.state.wall_s()),
                    status.state.stops.back()->code == 75 ? ", a checkpoint is written" : "");
  else if (found)
    status.detail = fmt::format("Slurm says {}; {}", found->state, what);
  else
    status.detail = fmt::format("Slurm has no job {} any more; {}", id, what);
}

// Slurm's number of an attempt: what the submitter wrote down, else what the queue says of the
// batch's name, else what a start wrote; "" if none is known.
std::string slurm_id(const JobState& state, Slurm& slurm) {
  std::string id = state.submitted;
  if (id.empty() && state.attempt && state.attempt->backend == "slurm")
    if (const auto found =
            slurm.find_by_batch(state.attempt->batch, state.attempt->index, state.attempt->time))
      id = found->id;
  for (const auto& start : state.starts)
    if (id.empty() && start) id = start->slurm_job;
  return id;
}

// Its submitter may still hand it over.
bool claim_is_fresh(const Attempt& attempt) {
  return is_alive(attempt.by).value_or(now_s() - attempt.time < lease_s());
}

void without_sign_of_life(Status& status, const std::string& state_root, Slurm& slurm) {
  const auto& state = status.state;
  const auto& attempt = state.attempt;
  if (attempt && attempt->backend == "pack") {
    Job packed;
    packed.key = packed.name = attempt->batch;
    const Status pack = status_of(packed, state_root, slurm);
    status.where = "in " + attempt->batch;
    if (pack.phase == Phase::kWaiting && claim_is_fresh(*attempt)) {
      status.phase = Phase::kSubmitting;
      return;
    }
    status.phase = !is_under_way(pack.phase) ? Phase::kLost
                   : state.begun()           ? Phase::kPreempted
                                             : Phase::kPending;
    status.detail = is_under_way(pack.phase) ? fmt::format("its pack is {}", phase_name(pack.phase))
                                             : fmt::format("its pack ended before it: {} {}",
                                                           phase_name(pack.phase), pack.detail);
    return;
  }
  const std::string id = slurm_id(state, slurm);
  const bool slurm_job = !state.submitted.empty() || (attempt && attempt->backend == "slurm");
  if (!id.empty()) return ask_slurm(status, id, slurm);
  if (!state.begun() && !state.abandoned() && attempt && claim_is_fresh(*attempt)) {
    status.phase = Phase::kSubmitting;
    status.detail = fmt::format("by process {} on {}", attempt->by.pid, attempt->by.host);
    return;
  }
  const bool unknown = slurm_job && !slurm.answers();
  status.phase = unknown ? Phase::kPending : Phase::kLost;
  status.detail = unknown ? fmt::format("not known: squeue does not answer ({})", slurm.problem())
                  : state.begun()     ? "it began, and the process that ran it is gone"
                  : state.abandoned() ? "given up before it began"
                                      : "its submitter is gone, and it never began";
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kNotEnabled: return "off";
    case Phase::kWaiting: return "waiting";
    case Phase::kSubmitting: return "submitting";
    case Phase::kPending: return "pending";
    case Phase::kRunning: return "running";
    case Phase::kPreempted: return "preempted";
    case Phase::kDone: return "done";
    case Phase::kFailed: return "failed";
    case Phase::kCancelled: return "cancelled";
    case Phase::kLost: return "lost";
  }
  return "?";
}

bool may_start(Phase phase) {
  return phase == Phase::kWaiting || phase == Phase::kFailed || phase == Phase::kCancelled ||
         phase == Phase::kLost;
}
bool is_under_way(Phase phase) {
  return phase == Phase::kSubmitting || phase == Phase::kPending || phase == Phase::kRunning ||
         phase == Phase::kPreempted;
}

namespace {

// Whether this start began after that one. Clocks of hosts differ.
bool began_after(const Start& start, const Start& earlier) {
  constexpr double kClocksDiffer_s = 60;
  return start.time > earlier.time + (start.by.host == earlier.by.host ? 0 : kClocksDiffer_s);
}

// For a job that is done: which of the jobs that it runs after have been run since it began, so
// that its result may be of their earlier ones, or of fewer.
std::string run_since(const Job& job, const JobState& state, const std::string& state_root) {
  const Start* own = state.last_start();
  std::vector<std::string> names;
  for (size_t i = 0; own && i < job.after.size(); ++i) {
    const auto other = read_state(job_folder(state_root, job.after[i]));
    const auto stop = other.end();
    const Start* start = other.last_start();
    if (start && stop && stop->reason == "done" && began_after(*start, *own))
      names.push_back(job.after_rows[i]);
  }
  if (names.empty()) return "";
  return fmt::format(
      "{}{}, which it runs after, ran since: jobs again --where name={} runs it anew", names[0],
      names.size() > 1 ? fmt::format(" (and {} more)", names.size() - 1) : "", job.name);
}

Status status_once(const Job& job, const std::string& state_root, Slurm& slurm) {
  Status status;
  status.state = read_state(job_folder(state_root, job.key));
  const auto& state = status.state;
  const auto stop = state.end();
  const bool done = stop && stop->reason == "done";  // then a run made anew is in its place
  const auto& runs = state.attempt && !done ? state.attempt->runs : job.resolution.runs;
  status.progress = read_progress(runs);
  status.wall_s = state.wall_s();
  if (state.beat)
    status.host = state.beat->by.host;
  else if (const Start* start = state.last_start(); start && !start->abandoned)
    status.host = start->by.host;
  if (!state.submitted.empty()) status.where = "slurm " + state.submitted;
  const auto waits_again = [&] {
    status.again = asked_again(job, state);
    if (status.again)
      status.detail = "asked for again; the old result stays until the new one is there";
    return status.again;
  };
  if (done && waits_again()) return status;
  if (const auto& end = stop) {
    status.phase = end->reason == "done"     ? Phase::kDone
                   : end->reason == "failed" ? Phase::kFailed
                   : end->reason == "lost"   ? Phase::kLost
                                             : Phase::kCancelled;
    if (state.attempt && state.attempt->backend == "pack")
      status.where = "in " + state.attempt->batch;
    if (status.phase == Phase::kFailed) {
      status.detail = fmt::format("exit code {}: {}", end->code, end->message);
      status.log = job_folder(state_root, job.key) + "/stderr.txt";
      if (!path_exists(status.log)) status.log.clear();
    } else
      status.detail = end->message;
    return status;
  }
  if (state.alive()) {
    status.phase = Phase::kRunning;
    // Others wait for it by Slurm's number, whoever deleted the file that had it.
    if (const auto id = status.where.empty() && state.attempt && state.attempt->backend == "slurm"
                            ? slurm_id(state, slurm)
                            : "";
        !id.empty())
      status.where = "slurm " + id;
    const auto& by = state.beat ? state.beat->by : state.last_start()->by;
    if (status.where.empty()) status.where = fmt::format("{}:{}", by.host, by.pid);
    status.detail = running_text(status, runs);
    return status;
  }
  if (finished_elsewhere(job, status.progress)) {
    if (waits_again()) return status;
    status.phase = Phase::kDone;
    status.detail = "the run's folder says finished";
    return status;
  }
  if (state.number > 0) without_sign_of_life(status, state_root, slurm);
  return status;
}

bool moved_on(const JobState& before, const JobState& now) {
  return before.number != now.number || before.submitted != now.submitted ||
         before.starts.size() != now.starts.size() || before.stops.size() != now.stops.size() ||
         before.beat.has_value() != now.beat.has_value() ||
         (now.beat && now.beat->time != before.beat->time);
}

}  // namespace

// Files and queue are not read in one instant: what looks lost or cancelled may have begun or ended
// in between.
Status status_of(const Job& job, const std::string& state_root, Slurm& slurm) {
  Status status;
  status.phase = Phase::kNotEnabled;
  for (int round = 0; job.enabled && round < 4; ++round) {
    status = status_once(job, state_root, slurm);
    const bool doubtful =
        (status.phase == Phase::kLost || status.phase == Phase::kCancelled) && !status.state.end();
    if (!doubtful || !moved_on(status.state, read_state(job_folder(state_root, job.key)))) break;
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

void note_not_started(const std::vector<Job>& all, const std::vector<Job>& jobs,
                      std::vector<Status>& statuses, const std::string& state_root, Slurm& slurm) {
  std::map<std::string, const Job*> by_key;
  for (const auto& job : all)
    if (!job.key.empty()) by_key[job.key] = &job;
  std::map<std::string, Status*> known;
  for (size_t i = 0; i < jobs.size(); ++i) known[jobs[i].key] = &statuses[i];
  std::map<std::string, Status> others;
  const auto status_at = [&](const std::string& key) -> const Status& {
    if (const auto at = known.find(key); at != known.end()) return *at->second;
    const auto [at, added] = others.try_emplace(key);
    if (added) at->second = status_of(*by_key.at(key), state_root, slurm);
    return at->second;
  };
  const auto stopped = [](Phase phase) {
    return phase == Phase::kFailed || phase == Phase::kCancelled || phase == Phase::kLost;
  };
  const auto never_began = [&](const Status& status) {
    return !status.state.begun() &&
           (stopped(status.phase) || status.phase == Phase::kWaiting ||
            status.phase == Phase::kPending) &&
           !(status.state.end() && status.phase == Phase::kFailed);
  };
  // The first of those before it that ended badly itself, by key; "" if there is none. Rows do not
  // wait for each other in circles (make_jobs).
  std::map<std::string, std::string> found;
  const std::function<std::string(const Job&)> cause = [&](const Job& job) -> std::string {
    const auto [at, added] = found.try_emplace(job.key);
    if (!added) return at->second;
    std::string own;
    for (const auto& key : job.after) {
      const auto& before = status_at(key);
      if (before.phase == Phase::kDone) continue;
      if (never_began(before)) own = cause(*by_key.at(key));
      if (own.empty() && stopped(before.phase)) own = key;
      if (!own.empty()) break;
    }
    return found[job.key] = own;
  };
  for (size_t i = 0; i < jobs.size(); ++i) {
    auto& status = statuses[i];
    if (jobs[i].after.empty() || !never_began(status) || status.again) continue;
    const auto key = cause(jobs[i]);
    if (key.empty()) continue;
    const auto& before = status_at(key);
    // In Slurm's queue it still may start: whoever submits `bad` again submits this one too.
    if (status.phase == Phase::kPending && before.phase != Phase::kFailed) continue;
    if (status.phase == Phase::kLost) status.phase = Phase::kCancelled;
    status.detail = "not started: " + how_it_ended(by_key.at(key)->name, before.phase);
  }
}

void note_off(const std::vector<Job>& jobs, const std::string& state_root, Slurm& slurm) {
  for (auto job : jobs) {
    if (job.off_key.empty()) continue;
    job.enabled = true, job.key = job.off_key;
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
