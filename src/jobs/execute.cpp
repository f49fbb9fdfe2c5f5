#include "jobs/execute.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "core/exit_codes.hpp"
#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "core/stop.hpp"
#include "jobs/progress.hpp"
#include "storage/atomic_file.hpp"
#include "storage/exit_record.hpp"

namespace dissent::jobs {
namespace {

constexpr double kPollS = 0.05;  // between looks at the program
constexpr double kStageTimeoutS = 6 * 3600;

volatile std::sig_atomic_t g_time_limit = 0;  // SIGUSR1: the time limit is near
volatile std::sig_atomic_t g_terminate = 0;   // number of SIGTERM and SIGINT

void note(int number) {
  // Only what a signal handler may do: sets flags that the loop around the program reads.
  if (number == SIGUSR1)
    g_time_limit = 1;
  else
    g_terminate = g_terminate + 1;
}

void install_handlers() {
  // The batch script reports a signal that it received before it became this process. The variable
  // is removed, because a program started from here may be another `jobs exec`, which must not
  // react to a signal of this one.
  if (const char* early = std::getenv(kEarlySignalVariable); early && *early) {
    note(std::strcmp(early, "USR1") == 0 ? SIGUSR1 : SIGTERM);
    unsetenv(kEarlySignalVariable);
  }

  struct sigaction action{};
  action.sa_handler = note;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT}) sigaction(number, &action, nullptr);
  release_stop_signals();  // `dissent` has held them since it started
}

void wait_s(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::string slurm_job() {
  const char* id = std::getenv("SLURM_JOB_ID");
  return id ? id : "";
}

// Passes the signals of the batch script on to the program.
class SignalRelay {
 public:
  // name: for messages. can_stop: the program stops on SIGUSR1 and can be resumed.
  SignalRelay(std::string name, std::string verb, bool can_stop)
      : name_(std::move(name)), verb_(std::move(verb)), can_stop_(can_stop) {}

  // To be called regularly while the program runs.
  void pass_on(pid_t process) {
    if (g_time_limit && time_limit_s_ == 0) {
      time_limit_s_ = now_s();
      report("the time limit is near",
             can_stop_ ? "requesting `{}` to stop" : "`{}` cannot be stopped and resumed");
      if (can_stop_) kill(process, SIGUSR1);
    }

    if (g_terminate && !terminated_) {
      terminated_ = true;
      report("SIGTERM received", can_stop_ ? "requesting `{}` to stop" : "passed on to `{}`");
      kill(process, can_stop_ ? SIGUSR1 : SIGTERM);
    }

    // A second SIGTERM does not wait for a checkpoint. It goes to the process group, so that the
    // ranks get it even if the launcher does not forward it.
    if (g_terminate > 1 && !killed_) killed_ = kill(-process, SIGTERM) == 0;
  }

  bool terminated() const { return terminated_; }
  // The time limit was signalled more than `grace_s` ago, or the program cannot react to it.
  bool is_overdue(double grace_s) const {
    return time_limit_s_ > 0 && (!can_stop_ || now_s() > time_limit_s_ + grace_s);
  }

 private:
  void report(const char* event, const char* reaction) const {
    fmt::print(stderr, "dissent jobs: {}: {}; {}\n", name_, event,
               fmt::format(fmt::runtime(reaction), verb_));
  }

  std::string name_, verb_;
  bool can_stop_, terminated_ = false, killed_ = false;
  double time_limit_s_ = 0;  // when SIGUSR1 was seen; 0: not yet
};

// Has Slurm requeue the job of this process. Returns why it was not, or "".
std::string requeue_in_slurm() {
  const auto id = slurm_job();
  if (id.empty()) return "not a Slurm job";
  const auto answer = run_captured({"scontrol", "requeue", id});
  // Where a node failed meanwhile, Slurm may have requeued the job itself.
  const bool pending = answer.err.find("is pending execution") != std::string::npos;
  if (answer.code == 0 || pending) return "";
  return fmt::format("scontrol requeue {} failed: {}", id, answer.err);
}

// Waits for as long as another process may still run the attempt; true if it does.
bool runs_elsewhere(const std::string& folder) {
  // A process on another host counts as alive until its lease ends, even if it has just been
  // killed: after one lease this is known.
  const double end = now_s() + lease_s();
  while (true) {
    const auto state = read_state(folder);
    if (!state.alive()) return false;
    if (now_s() > end) return true;
    wait_s(0.2);
  }
}

// Copies the caches to the local disk of every node; true if the program will find them there. A
// failure costs time only: the job reads them from where they are.
bool stage_inputs(const Attempt& attempt) {
  const char* scratch = std::getenv("DISSENT_SCRATCH");
  if (!attempt.stage || !scratch || !*scratch || attempt.inputs.empty()) return false;

  // The local disk belongs to one node, so each node of the job needs its own copying process; the
  // ranks on a node share the copy.
  std::vector<std::string> argv;
  const char* nodes = std::getenv("SLURM_JOB_NUM_NODES");
  if (nodes && std::atoi(nodes) > 1)
    argv = {"srun", fmt::format("--ntasks={}", nodes), "--ntasks-per-node=1"};
  argv.insert(argv.end(), {front_program(), "jobs", "stage", scratch});
  argv.insert(argv.end(), attempt.inputs.begin(), attempt.inputs.end());
  try {
    const auto output = run_captured(argv, kStageTimeoutS);
    fmt::print(stderr, "{}", output.err);
    return output.code == 0;
  } catch (const Error& error) {
    fmt::print(stderr, "dissent jobs: {}: caches not staged: {}\n", attempt.name, error.what());
    return false;
  }
}

// Where a verb continues that was killed before it could report what it has kept.
std::string resume_text(const std::string& verb) {
  switch (verb_kind(verb)) {
    case VerbKind::kCache: return "resumes from the complete shards";
    case VerbKind::kEvaluate: return "resumes from cached logits and fitted states";
    default: return "resumes from the last checkpoint";
  }
}

std::string signal_text(int number) {
  return fmt::format("ended by signal {} ({}){}", number, strsignal(number),
                     number == SIGKILL ? ", often because memory ran out" : "");
}

// One start of an attempt, and its state files.
struct StartedAttempt {
  const std::string& folder;
  const Attempt& attempt;
  int64_t restart;

  void record(const Stop& stop) const {
    put_stop(folder, attempt.number, restart, stop);
    put_beat(folder, attempt.number,
             {.by = this_process(), .time = stop.time, .restart = restart, .stop = stop});
  }
};

// Runs the program of one start to its end.
class Execution {
 public:
  Execution(const StartedAttempt& started, const ExecuteOptions& options)
      : started_(started),
        attempt_(started.attempt),
        options_(options),
        relay_(attempt_.name, attempt_.verb, can_stop(attempt_.verb)),
        start_s_(now_s()) {}

  // Returns how this start ended, and sets `requeue` if Slurm is to requeue the job.
  Stop run(bool& requeue) {
    // Error lines before this offset are those of earlier starts.
    err_offset_ = file_bytes(err_path());
    write_heartbeat(true);
    try {
      start_program();
    } catch (const Error& error) {
      return stop(exit_code(ErrorKind::kData), EndReason::kFailed, error.what(), true);
    }

    // One loop does everything that has to happen while the program runs: signals are passed on, an
    // attempt that was declared lost is killed, and heartbeats show other processes that it is
    // alive. A program that is overdue is left running: `scontrol requeue` ends it with the job.
    std::optional<int> code;
    while (!(code = poll_exit_code(process_))) {
      relay_.pass_on(process_);
      if (declared_lost_) kill(-process_, SIGKILL);
      if (relay_.is_overdue(options_.grace_s)) break;
      write_heartbeat(false);
      wait_s(kPollS);
    }
    return outcome_of(code, requeue);
  }

 private:
  std::string err_path() const { return started_.folder + "/stderr.txt"; }
  std::string record_path() const {
    return std::filesystem::absolute(started_.folder + "/exit").string();
  }

  void start_program() {
    std::vector<std::string> argv = options_.launcher;
    argv.insert(argv.end(), attempt_.command.begin(), attempt_.command.end());

    // The program writes its exit code there; that of an earlier start must not be read.
    auto environment = options_.environment;
    environment.emplace_back(kExitRecordVariable, record_path());
    remove_file(record_path());
    process_ = start_process({.argv = argv,
                              .environment = environment,
                              .out = started_.folder + "/stdout.txt",
                              .err = err_path(),
                              .cores = options_.cores});
  }

  // code: of the launcher; nothing if it still runs and is abandoned.
  Stop outcome_of(std::optional<int> code, bool& requeue) {
    // Overdue: the job is requeued now, because one that reaches Slurm's time limit is not
    // requeued.
    if (!code) {
      requeue = true;
      return stop(kExitStopped, EndReason::kTimeLimit,
                  can_stop(attempt_.verb)
                      ? fmt::format("did not stop within {:.0f} s; {}", options_.grace_s,
                                    resume_text(attempt_.verb))
                      : "starts again from the beginning",
                  false);
    }

    // mpirun may end with 0 although Slurm stopped the ranks.
    if (*code == 0) code = program_code();

    // Ranks without a record: killed after a request to stop, or ended for no known reason.
    if (*code == kNoExit) {
      if (!relay_.terminated() && !g_time_limit)
        return stop(exit_code(ErrorKind::kComm), EndReason::kFailed,
                    "the launcher ended with exit code 0, but the program did not finish", false);
      code = kExitStopped;  // it was requested to stop and killed before it had stopped
    }
    if (*code == 0) return stop(0, EndReason::kDone, "", true);
    if (declared_lost_)
      return stop(exit_code(ErrorKind::kComm), EndReason::kCancelled,
                  "stopped: already declared lost", true);

    // Under Slurm only Slurm knows whether the job was preempted (and is requeued) or cancelled.
    const std::string kept = kept_text(attempt_.verb);
    if (relay_.terminated()) {
      const bool slurm = !slurm_job().empty();
      return stop(*code, slurm ? EndReason::kTerminated : EndReason::kCancelled,
                  *code == kExitStopped ? kept : "", !slurm);
    }

    // 128 + SIGUSR1: the signal came before the program had installed its handler. It did no work
    // that could be lost, so this is not a failure.
    const bool too_early = *code == kExitBySignal + SIGUSR1;
    if ((*code == kExitStopped || too_early) && g_time_limit) {
      requeue = true;
      return stop(kExitStopped, EndReason::kTimeLimit,
                  too_early ? "not started yet; " + resume_text(attempt_.verb) : kept, false);
    }

    // Stopped by a signal that did not come through this process: the program was stopped by
    // hand, and starting it again would undo that.
    if (*code == kExitStopped)
      return stop(kExitStopped, EndReason::kCancelled, "stopped by a signal, " + kept, true);

    // A real failure. Without a message of the program the signal is all that is known.
    std::string message = last_error_line(err_path(), err_offset_);
    if (message.empty())
      message = *code > kExitBySignal ? signal_text(*code - kExitBySignal) : "no error message";
    return stop(*code, EndReason::kFailed, message, !is_transient(*code));
  }

  // The program's exit code where its launcher says 0. Where the launcher did not pass the variable
  // of the record on, a training's folder still tells; for other verbs the launcher is believed.
  int program_code() const {
    if (const auto code = read_exit_record(record_path())) return *code;
    if (verb_kind(attempt_.verb) != VerbKind::kTrain || attempt_.runs.empty()) return 0;

    // With --again the finished runs have moved from the folder where they were trained.
    const auto is_complete = [&](const std::string& run) {
      return attempt_.again ? !path_exists(run) : read_progress({run}).finished;
    };
    const bool complete = std::all_of(attempt_.runs.begin(), attempt_.runs.end(), is_complete);
    return complete ? 0 : kNoExit;
  }

  Stop stop(int code, EndReason reason, const std::string& message, bool is_final) const {
    return {.code = code,
            .reason = reason,
            .message = message,
            .wall_s = now_s() - start_s_,
            .time = now_s(),
            .is_final = is_final};
  }

  void write_heartbeat(bool at_once) {
    // Six heartbeats per lease, so that one slow write does not look like an end.
    const double interval_s = std::min(10.0, lease_s() / 6);
    if (!at_once && now_s() - last_beat_s_ < interval_s) return;
    last_beat_s_ = now_s();

    // An attempt that another process declared lost ends here, so that nothing runs twice.
    const auto state = read_state(started_.folder);
    declared_lost_ = state.number > attempt_.number ||
                     (state.number == attempt_.number && state.end().has_value());
    if (declared_lost_) return;

    try {
      put_beat(
          started_.folder, attempt_.number,
          {.by = this_process(), .time = last_beat_s_, .restart = started_.restart, .stop = {}});
    } catch (const Error& error) {  // a full disk does not end a run
      fmt::print(stderr, "dissent jobs: {}\n", error.what());
    }
  }

  const StartedAttempt& started_;
  const Attempt& attempt_;
  const ExecuteOptions& options_;
  SignalRelay relay_;
  double start_s_, last_beat_s_ = 0;
  int64_t err_offset_ = 0;
  pid_t process_ = -1;
  bool declared_lost_ = false;
};

// Has Slurm requeue the job; false, with the attempt ended, if that is not possible.
bool requeue(const StartedAttempt& started, Stop stop, const ExecuteOptions& options) {
  std::string problem = slurm_job().empty() ? "not a Slurm job" : "";
  if (problem.empty() && started.restart + 1 >= options.max_restarts)
    problem = fmt::format("started {} times already (DISSENT_MAX_RESTARTS)", started.restart + 1);
  if (problem.empty()) {
    // Recorded first: Slurm kills this process as soon as it requeues the job.
    started.record(stop);
    problem = requeue_in_slurm();
    if (problem.empty()) return true;
  }

  stop.is_final = true;
  stop.message += fmt::format("; not requeued: {}; submit it again to resume", problem);
  fmt::print(stderr, "dissent jobs: {}: {}\n", started.attempt.name, stop.message);
  started.record(stop);
  return false;
}

// Name of a job that has to be done first and is not; nothing if there is none.
std::optional<std::string> unmet(const std::string& folder, const Attempt& attempt) {
  // Checked again when the job starts: Slurm's afterok knows only the exit codes of its own jobs,
  // and the states may have changed while the job was queued.
  const auto state_root = std::filesystem::path(folder).parent_path().string();
  for (const auto& key : attempt.after) {
    const auto state = read_state(job_folder(state_root.empty() ? "." : state_root, key));
    const auto end = state.end();

    // Run folders that are finished count, even if the record of the job's end was deleted.
    const bool lost_record = !end && state.attempt && read_progress(state.attempt->runs).finished;
    if (!(end && end->code == 0) && !lost_record) return state.attempt ? state.attempt->name : key;
  }
  return std::nullopt;
}

Attempt read_attempt(const std::string& folder, int64_t number) {
  const auto state = read_state(folder);
  DISSENT_CHECK(state.number == number && state.attempt, kData,
                "{}/attempt.{}: expected the newest attempt, found {}; submit the sheet again",
                folder, number,
                state.attempt ? fmt::format("attempt.{}", state.number) : "no such file");
  return *state.attempt;
}

// Why a claimed start may not run, with its exit code; nothing if it may.
struct Refusal {
  int code;
  std::string message;
};
std::optional<Refusal> refusal_of(const StartedAttempt& started, int64_t failures) {
  if (failures > started.attempt.retries)
    return Refusal{exit_code(ErrorKind::kComm), fmt::format("failed or lost {} times (retries: {})",
                                                            failures, started.attempt.retries)};
  if (const auto other = unmet(started.folder, started.attempt))
    return Refusal{exit_code(ErrorKind::kData),
                   fmt::format("waits for {}, which is not done", *other)};
  return std::nullopt;
}

// One start of the attempt. Returns the exit code for the batch script, or nothing if the attempt
// is to be started again.
std::optional<int> run_start(const StartedAttempt& started, ExecuteOptions options) {
  const auto& attempt = started.attempt;

  // A refusal is recorded as an end, so that `jobs status` shows the reason.
  const int64_t failures = read_state(started.folder).failures();
  if (const auto refusal = refusal_of(started, failures)) {
    started.record({.code = refusal->code,
                    .reason = EndReason::kFailed,
                    .message = refusal->message,
                    .wall_s = 0,
                    .time = now_s(),
                    .is_final = true});
    return refusal->code;
  }

  // Slurm sends the signal up to a minute late: a sixth of the time until the limit is left to it.
  if (attempt.signal_s > 0) options.grace_s = static_cast<double>(attempt.signal_s) * 5 / 6;
  if (stage_inputs(attempt))
    options.environment = {{"DISSENT_STAGED", std::getenv("DISSENT_SCRATCH")}};

  bool to_requeue = false;
  auto stop = Execution(started, options).run(to_requeue);
  if (to_requeue) return requeue(started, stop, options) ? 0 : kExitStopped;

  // A failure is final once `retries` earlier starts have failed. A lost start counts too: a job
  // that takes its node down each time must not be started for ever.
  const bool failed = stop.reason == EndReason::kFailed;
  stop.is_final = stop.is_final || (failed && failures >= attempt.retries);
  started.record(stop);
  if (stop.is_final || !failed) return static_cast<int>(stop.code);

  // A crowded node or file system may need a moment: 1, 2, 4, ... seconds.
  fmt::print(stderr, "dissent jobs: {}: exit code {} ({}); start {} of {}\n", attempt.name,
             stop.code, stop.message, failures + 2, attempt.retries + 1);
  wait_s(static_cast<double>(int64_t{1} << std::min<int64_t>(failures, 6)));
  return std::nullopt;
}

}  // namespace

bool can_stop(const std::string& verb) {
  return verb == "jobs" || can_be_stopped(verb, "");  // jobs: a pack
}

std::string kept_text(const std::string& verb) {
  switch (verb_kind(verb)) {
    case VerbKind::kCache: return "the complete shards are kept";
    case VerbKind::kEvaluate: return "cached logits and fitted states are kept";
    default: return "checkpoint written";
  }
}

bool is_transient(int code) { return job_result(code) == JobResult::kRetried; }

std::optional<int64_t> begin(const std::string& folder, const Attempt& attempt, std::string& why) {
  if (runs_elsewhere(folder)) {
    why = "another process is running it";
    return std::nullopt;
  }
  const auto state = read_state(folder);

  // An attempt that was declared lost may have a successor: two programs must not write to the
  // same runs.
  if (state.abandoned()) why = "declared lost; it may be running elsewhere";
  if (const auto end = state.end()) why = fmt::format("already ended: {}", end_name(end->reason));
  if (!why.empty()) return std::nullopt;

  // Any file of an earlier start shows that its number is taken: users may delete single files, and
  // a number that is used twice would mix two starts.
  auto restart = static_cast<int64_t>(std::max(state.starts.size(), state.stops.size()));
  if (state.beat) restart = std::max(restart, state.beat->restart + 1);

  // The start file is created exclusively: of several processes one gets this number. Epoch, size
  // of the error log and wall time are those before this start, of which later ones are counted.
  const Start start{.by = this_process(),
                    .time = now_s(),
                    .slurm_job = slurm_job(),
                    .epoch = read_progress(attempt.runs).epoch,
                    .err_offset = file_bytes(folder + "/stderr.txt"),
                    .wall_before_s = state.wall_s() - attempt.wall_before_s,
                    .abandoned = false};
  if (put_start(folder, attempt.number, restart, start)) return restart;
  why = "another process started it first";
  return std::nullopt;
}

int execute(const std::string& folder, int64_t number, ExecuteOptions options) {
  install_handlers();

  // Paths of the sheet are relative to the folder where it was submitted.
  const Attempt attempt = read_attempt(folder, number);
  DISSENT_CHECK(chdir(attempt.directory.c_str()) == 0, kData, "{}: cannot change to folder: {}",
                attempt.directory, std::strerror(errno));

  // Each round is one start with its own state files; what is tried again does not leave this
  // job.
  while (true) {
    std::string why;
    const auto restart = begin(folder, attempt, why);
    if (!restart) {
      fmt::print(stderr, "dissent jobs: {}: not started: {}\n", attempt.name, why);
      return 0;
    }
    if (const auto code = run_start({folder, attempt, *restart}, options)) return *code;
  }
}

int execute_command(const std::vector<std::string>& command, const ExecuteOptions& options) {
  install_handlers();
  const auto& verb = command[0];
  const bool resumes = can_be_stopped(verb, command.size() > 1 ? command[1] : "");
  const auto id = slurm_job();
  const auto name = id.empty() ? verb : "slurm job " + id;

  // If the signal came before the command was started, it is not started at all: it would only
  // stop again, after it has loaded its data.
  int code = kExitStopped;
  SignalRelay relay(name, verb, resumes);
  const bool stopped_before = resumes && (g_time_limit || g_terminate);
  if (stopped_before) {
    fmt::print(stderr, "dissent jobs: {}: stopped by a signal before `{}` started\n", name, verb);
  } else {
    auto argv = options.launcher;
    argv.insert(argv.end(), command.begin(), command.end());
    const pid_t process =
        start_process({.argv = argv, .environment = options.environment, .cores = options.cores});

    std::optional<int> ended;
    while (!(ended = poll_exit_code(process))) {
      relay.pass_on(process);
      wait_s(kPollS);
    }
    code = *ended;
  }

  // 128 + SIGUSR1: the signal came before the program or its launcher had installed a handler. It
  // did no work that could be lost, so this counts as an ordinary stop.
  const bool too_early =
      code == kExitBySignal + SIGUSR1 && resumes && (g_time_limit || g_terminate);
  if (too_early) code = kExitStopped;
  if (code != kExitStopped || !g_time_limit) return code;
  if (g_terminate) return code;  // a cancelled job stays cancelled; Slurm requeues a preempted one

  // A single command has no state files: Slurm counts its restarts.
  const char* count = std::getenv("SLURM_RESTART_COUNT");
  const int64_t restarts = count ? std::atoll(count) : 0;
  const auto problem =
      restarts >= options.max_restarts
          ? fmt::format("requeued {} times already (DISSENT_MAX_RESTARTS)", restarts)
          : requeue_in_slurm();
  if (problem.empty()) return 0;
  fmt::print(stderr, "dissent jobs: {}: not requeued: {}; submit it again to resume\n", name,
             problem);
  return kExitStopped;
}

}  // namespace dissent::jobs
