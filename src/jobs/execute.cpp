#include "jobs/execute.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include <dissent/error.hpp>

#include "core/exit_codes.hpp"
#include "core/stop.hpp"
#include "jobs/progress.hpp"
#include "storage/atomic_file.hpp"
#include "storage/exit_record.hpp"

namespace dissent::jobs {
namespace {

volatile std::sig_atomic_t g_checkpoint = 0;  // SIGUSR1: the time limit is near
volatile std::sig_atomic_t g_terminate = 0;   // SIGTERM, SIGINT: how often
void note(int number) {
  if (number == SIGUSR1)
    g_checkpoint = 1;
  else
    g_terminate = g_terminate + 1;
}

void install_handlers() {
  struct sigaction action{};
  action.sa_handler = note;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT}) sigaction(number, &action, nullptr);
  release_stop_signals();  // `dissent` has held them since it started
}

void nap(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::string slurm_job() {
  const char* id = std::getenv("SLURM_JOB_ID");
  return id ? id : "";
}

// Waits for as long as another process may still run the attempt; true if it does.
bool another_runs(const std::string& folder) {
  const double end = now_s() + lease_s();
  while (true) {
    const auto state = read_state(folder);
    if (!state.alive()) return false;
    if (now_s() > end) return true;
    nap(0.2);
  }
}

// Copies the caches to every node's own disk; true if the program will find them there. What goes
// wrong costs time only: the job reads them where they are.
bool staged(const Attempt& attempt) {
  const char* scratch = std::getenv("DISSENT_SCRATCH");
  if (!attempt.stage || !scratch || !*scratch || attempt.inputs.empty()) return false;
  std::vector<std::string> argv;
  const char* nodes = std::getenv("SLURM_JOB_NUM_NODES");
  if (nodes && std::atoi(nodes) > 1)
    argv = {"srun", fmt::format("--ntasks={}", nodes), "--ntasks-per-node=1"};
  argv.insert(argv.end(), {program_path(), "jobs", "stage", scratch});
  argv.insert(argv.end(), attempt.inputs.begin(), attempt.inputs.end());
  try {
    const auto said = run_captured(argv, 6 * 3600);
    fmt::print(stderr, "{}", said.err);
    return said.code == 0;
  } catch (const Error& error) {
    fmt::print(stderr, "dissent jobs: {}: not staged: {}\n", attempt.name, error.what());
    return false;
  }
}

std::string signal_text(int number) {
  return fmt::format("ended by signal {} ({}){}", number, strsignal(number),
                     number == SIGKILL ? ", often for want of memory" : "");
}

class Execution {
 public:
  Execution(const std::string& folder, const Attempt& attempt, int64_t restart,
            const ExecuteOptions& options)
      : folder_(folder),
        attempt_(attempt),
        restart_(restart),
        options_(options),
        start_s_(now_s()) {}

  // How this start ended; `requeue`: it is to be queued again.
  Stop run(bool& requeue) {
    err_offset_ = file_bytes(err_path());
    beat(true);
    std::vector<std::string> argv = options_.launcher;
    argv.insert(argv.end(), attempt_.command.begin(), attempt_.command.end());
    std::optional<int> code;
    auto environment = options_.environment;
    environment.emplace_back(kExitRecordVariable, record_path());
    try {
      remove_file(record_path());
      process_ = start({.argv = argv,
                        .environment = environment,
                        .out = folder_ + "/stdout.txt",
                        .err = err_path(),
                        .cores = options_.cores});
    } catch (const Error& error) {
      return stop(3, "failed", error.what(), true);
    }
    while (!(code = ended(process_))) {
      pass_signals_on();
      if (given_up_) kill(-process_, SIGKILL);
      if (g_checkpoint && now_s() > checkpoint_s_ + options_.grace_s) break;
      beat(false);
      nap(0.05);
    }
    return judge(code, requeue);
  }

 private:
  std::string err_path() const { return folder_ + "/stderr.txt"; }
  bool can_stop() const { return jobs::can_stop(attempt_.verb); }

  void pass_signals_on() {
    if (g_checkpoint && checkpoint_s_ == 0) {
      checkpoint_s_ = now_s();
      fmt::print(stderr, "dissent jobs: {}: the time limit is near{}\n", attempt_.name,
                 can_stop() ? ", asking it to stop" : "");
      if (can_stop())
        kill(process_, SIGUSR1);
      else
        checkpoint_s_ -= options_.grace_s;
    }
    if (g_terminate && !terminated_) {
      terminated_ = true;
      fmt::print(stderr, "dissent jobs: {}: SIGTERM{}\n", attempt_.name,
                 can_stop() ? ", asking it to stop" : "");
      kill(process_, can_stop() ? SIGUSR1 : SIGTERM);
    }
    if (g_terminate > 1 && !killed_) killed_ = kill(-process_, SIGTERM) == 0;
  }

  Stop judge(std::optional<int> code, bool& requeue) {
    if (!code) {
      requeue = true;
      return stop(75, "time limit",
                  can_stop() ? fmt::format("it did not stop within {:.0f} s: it goes on from what "
                                           "was kept before",
                                           options_.grace_s)
                             : "it starts again",
                  false);
    }
    if (*code == 0) code = own_code();
    if (*code == kNoExit) {
      if (!terminated_ && !g_checkpoint)
        return stop(4, "failed",
                    "the launcher ended with 0, but the program did not come to its end", false);
      code = 75;  // it was asked to stop, and was killed before it had
    }
    if (*code == 0) return stop(0, "done", "", true);
    if (given_up_) return stop(4, "cancelled", "was declared lost, and ended for that", true);
    if (terminated_)
      return stop(*code, slurm_job().empty() ? "cancelled" : "terminated",
                  *code == 75 ? kept_text(attempt_.verb) : "", slurm_job().empty());
    const bool too_early =
        *code == 128 + SIGUSR1;  // the signal came before the program could catch it
    if ((*code == 75 || too_early) && g_checkpoint) {
      requeue = true;
      return stop(75, "time limit",
                  too_early ? "it had not begun: it goes on from what was kept before"
                            : kept_text(attempt_.verb),
                  false);
    }
    if (*code == 75)
      return stop(75, "cancelled", "stopped by a signal, " + kept_text(attempt_.verb), true);
    std::string message = last_error_line(err_path(), err_offset_);
    if (message.empty()) message = *code > 128 ? signal_text(*code - 128) : "no error line";
    return stop(*code, "failed", message, !may_pass(*code));
  }

  std::string record_path() const { return std::filesystem::absolute(folder_ + "/exit").string(); }

  // How the program ended where its launcher says 0. Where the launcher did not pass the variable
  // on, a training's folder still tells; of the other verbs the launcher is believed.
  int own_code() const {
    if (const auto said = read_exit_record(record_path())) return *said;
    if (attempt_.verb != "train" || attempt_.runs.empty()) return 0;
    // With --again the runs are in their place, and gone from where they were made.
    const auto is_whole = [&](const std::string& run) {
      return attempt_.again ? !path_exists(run) : read_progress({run}).finished;
    };
    return std::all_of(attempt_.runs.begin(), attempt_.runs.end(), is_whole) ? 0 : kNoExit;
  }

  Stop stop(int code, const std::string& reason, const std::string& message, bool is_final) const {
    return {.code = code,
            .reason = reason,
            .message = message,
            .wall_s = now_s() - start_s_,
            .time = now_s(),
            .is_final = is_final};
  }

  void beat(bool now) {
    const double every_s = std::min(10.0, lease_s() / 6);
    if (!now && now_s() - last_beat_s_ < every_s) return;
    last_beat_s_ = now_s();
    const auto state =
        read_state(folder_);  // one that was taken for lost ends, so that nothing runs twice
    given_up_ = state.number > attempt_.number || (state.number == attempt_.number && state.end());
    if (given_up_) return;
    try {
      put_beat(folder_, attempt_.number,
               {.by = this_process(), .time = last_beat_s_, .restart = restart_, .stop = {}});
    } catch (const Error& error) {  // a full disk is no reason to end a run
      fmt::print(stderr, "dissent jobs: {}\n", error.what());
    }
  }

  const std::string& folder_;
  const Attempt& attempt_;
  int64_t restart_;
  const ExecuteOptions& options_;
  double start_s_, checkpoint_s_ = 0, last_beat_s_ = 0;
  int64_t err_offset_ = 0;
  pid_t process_ = -1;
  bool terminated_ = false, killed_ = false, given_up_ = false;
};

void record(const std::string& folder, int64_t number, int64_t restart, const Stop& stop) {
  put_stop(folder, number, restart, stop);
  put_beat(folder, number,
           {.by = this_process(), .time = stop.time, .restart = restart, .stop = stop});
}

// Has Slurm queue the job again; false, with the attempt ended, if that is not possible.
bool queue_again(const std::string& folder, const Attempt& attempt, int64_t restart, Stop stop,
                 const ExecuteOptions& options) {
  const std::string id = slurm_job();
  std::string problem = id.empty() ? "not a job of Slurm" : "";
  if (problem.empty() && restart + 1 >= options.most_restarts)
    problem = fmt::format("started {} times already (DISSENT_MAX_RESTARTS)", restart + 1);
  if (problem.empty()) {
    record(folder, attempt.number, restart, stop);
    const auto said = run_captured({"scontrol", "requeue", id});
    // Where a node failed meanwhile Slurm may have queued the job again by itself.
    if (said.code == 0 || said.err.find("is pending execution") != std::string::npos) return true;
    problem = fmt::format("scontrol requeue {} failed: {}", id, said.err);
  }
  stop.is_final = true;
  stop.message += fmt::format("; not queued again: {}; submit it again to go on", problem);
  fmt::print(stderr, "dissent jobs: {}: {}\n", attempt.name, stop.message);
  record(folder, attempt.number, restart, stop);
  return false;
}

std::optional<std::string> unmet(const std::string& folder, const Attempt& attempt) {
  const auto state_root = std::filesystem::path(folder).parent_path().string();
  for (const auto& key : attempt.after) {
    const auto state = read_state(job_folder(state_root.empty() ? "." : state_root, key));
    const auto end = state.end();
    const bool lost_record = !end && state.attempt && read_progress(state.attempt->runs).finished;
    if (!(end && end->code == 0) && !lost_record) return state.attempt ? state.attempt->name : key;
  }
  return std::nullopt;
}

Attempt read_attempt(const std::string& folder, int64_t number) {
  const auto state = read_state(folder);
  DISSENT_CHECK(state.number == number && state.attempt, kData,
                "{}/attempt.{}: not there, or not the newest: submit the sheet again", folder,
                number);
  return *state.attempt;
}

}  // namespace

bool can_stop(const std::string& verb) {
  return verb == "jobs" || can_be_stopped(verb, "");  // jobs: a pack
}

std::string kept_text(const std::string& verb) {
  if (verb == "cache") return "the complete shards are kept";
  if (verb == "evaluate") return "cached logits and fitted states are kept";
  return "a checkpoint is written";
}

bool may_pass(int code) { return job_result(code) == JobResult::kRetried; }

std::optional<int64_t> begin(const std::string& folder, const Attempt& attempt, std::string& why) {
  if (another_runs(folder)) {
    why = "another process runs it";
    return std::nullopt;
  }
  const auto state = read_state(folder);
  if (state.abandoned()) why = "it was declared lost and may run elsewhere";
  if (state.end()) why = "it has ended: " + state.end()->reason;
  if (!why.empty()) return std::nullopt;
  auto restart = static_cast<int64_t>(std::max(state.starts.size(), state.stops.size()));
  if (state.beat) restart = std::max(restart, state.beat->restart + 1);
  const Start start{.by = this_process(),
                    .time = now_s(),
                    .slurm_job = slurm_job(),
                    .epoch = read_progress(attempt.runs).epoch,
                    .err_offset = file_bytes(folder + "/stderr.txt"),
                    .wall_before_s = state.wall_s() - attempt.wall_before_s,
                    .abandoned = false};
  if (put_start(folder, attempt.number, restart, start)) return restart;
  why = "another process came first";
  return std::nullopt;
}

int execute(const std::string& folder, int64_t number, ExecuteOptions options) {
  install_handlers();
  const Attempt attempt = read_attempt(folder, number);
  DISSENT_CHECK(chdir(attempt.directory.c_str()) == 0, kData, "{}: cannot change into it: {}",
                attempt.directory, std::strerror(errno));
  while (true) {
    std::string why;
    const auto restart = begin(folder, attempt, why);
    if (!restart) {
      fmt::print(stderr, "dissent jobs: {}: not started: {}\n", attempt.name, why);
      return 0;
    }
    const auto fail = [&](int code, const std::string& message) {
      record(folder, number, *restart,
             {.code = code,
              .reason = "failed",
              .message = message,
              .wall_s = 0,
              .time = now_s(),
              .is_final = true});
      return code;
    };
    const int64_t lost = read_state(folder).failures();
    if (lost > attempt.retries)
      return fail(4, fmt::format("failed or was lost with its node {} times", lost));
    if (const auto other = unmet(folder, attempt))
      return fail(3, fmt::format("waits for {}, which is not done", *other));
    bool requeue = false;
    // What is left of the time until the limit when the scheduler has had its part.
    if (attempt.signal_s > 0) options.grace_s = static_cast<double>(attempt.signal_s) * 5 / 6;
    if (staged(attempt)) options.environment = {{"DISSENT_STAGED", std::getenv("DISSENT_SCRATCH")}};
    auto stop = Execution(folder, attempt, *restart, options).run(requeue);
    if (requeue) return queue_again(folder, attempt, *restart, stop, options) ? 0 : 75;
    stop.is_final = stop.is_final || (stop.reason == "failed" && lost >= attempt.retries);
    record(folder, number, *restart, stop);
    if (stop.is_final || stop.reason != "failed") return static_cast<int>(stop.code);
    fmt::print(stderr, "dissent jobs: {}: exit code {} ({}); start {} of {}\n", attempt.name,
               stop.code, stop.message, lost + 2, attempt.retries + 1);
    nap(static_cast<double>(int64_t{1} << std::min<int64_t>(lost, 6)));
  }
}

}  // namespace dissent::jobs
