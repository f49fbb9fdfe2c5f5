#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cli/compute.hpp"
#include "comm/device.hpp"
#include "core/exit_codes.hpp"
#include "core/process.hpp"
#include "core/stop.hpp"
#include "core/torch_failure.hpp"
#include "jobs/execute.hpp"
#include "jobs/queue.hpp"

namespace dissent::cli {
namespace {

// Writes the heartbeat of a job while its ranks compute: a thread of the group's first rank.
class HeartbeatThread {
 public:
  HeartbeatThread(const std::string& folder, int64_t number, int64_t restart)
      : folder_(folder), number_(number), restart_(restart), thread_([this] { beat(); }) {}
  ~HeartbeatThread() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  HeartbeatThread(const HeartbeatThread&) = delete;
  HeartbeatThread& operator=(const HeartbeatThread&) = delete;

 private:
  void beat() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      try {
        jobs::put_beat(folder_, number_,
                       {.by = this_process(), .time = now_s(), .restart = restart_, .stop = {}});
      } catch (const Error& error) {  // a full disk does not end a run
        spdlog::warn("event=beat_not_written reason=\"{}\"", error.what());
      }
      changed_.wait_for(lock, std::chrono::duration<double>(std::min(10.0, jobs::lease_s() / 6)));
    }
  }
  const std::string& folder_;
  int64_t number_, restart_;
  bool over_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

// How one rank's part of a job went.
struct Outcome {
  int code = 0;
  std::string message;
  bool intact = true;  // all ranks know of it and none waits for a message
};

// A group of ranks that runs one job after the other, until none is left.
class PackGroup {
 public:
  PackGroup(Runtime& runtime, std::vector<jobs::BatchEntry> entries, int64_t ranks)
      : runtime_(runtime),
        entries_(std::move(entries)),
        start_s_(now_s()),
        control_(runtime.world().split(static_cast<int>(runtime.world().rank() / ranks),
                                       runtime.world().rank())) {}

  void run() {
    while (take()) run_job();
  }

 private:
  bool leads() const { return control_->rank() == 0; }
  // The value of the first rank of the group.
  int64_t of_leader(int64_t value) {
    wait_without_timeout();
    return all_gather_integer(*control_, value)[0];
  }
  // A group may wait long: for a slow rank, or for one that first has to run into the timeout of
  // its own job.
  void wait_without_timeout() {
    control_->wait_settings().timeout_s = std::numeric_limits<double>::infinity();
  }

  // Takes the next free job; false if none is left, or the pack is requested to stop. Collective
  // over the group.
  bool take() {
    int64_t chosen = -1;
    while (leads() && chosen < 0 && !stop_requested()) {
      bool wait = false;
      chosen = claim_next(wait);
      if (!wait) break;
      if (chosen < 0) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }

    // The leader alone claims a job, since ranks may see the files in different states; all ranks
    // of the group then run it.
    chosen_ = of_leader(chosen);
    restart_ = of_leader(restart_);
    if (chosen_ < 0) return false;
    attempt_ = *jobs::read_state(folder()).attempt;
    return true;
  }

  const std::string& folder() const { return entries_[chosen_].folder; }

  // Claims the first job that no process runs; -1 if there is none. wait: set if one may become
  // free, because the process that ran it before the pack was stopped seems to live still.
  int64_t claim_next(bool& wait) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      const auto& entry = entries_[i];
      const auto state = jobs::read_state(entry.folder);

      // A row may have been changed and queued again since this batch was written; an older attempt
      // is not run.
      const bool newest = state.number == entry.number && state.attempt;
      if (!newest || state.end() || state.abandoned()) continue;
      if (state.alive()) {
        const auto* start = state.last_start();
        wait = wait || (start && start->time < start_s_);
        continue;
      }

      // Other groups and packs claim from the same list: begin() fails for all but one of them.
      const int64_t failures = state.failures();
      std::string why;
      const auto restart = jobs::begin(entry.folder, *state.attempt, why);
      if (!restart) continue;
      restart_ = *restart;
      if (failures <= state.attempt->retries) return static_cast<int64_t>(i);

      // A job whose process was lost every time would be started by each pack again; it ends as
      // failed.
      record(entry.folder, state.number,
             {.code = 4,
              .reason = jobs::EndReason::kFailed,
              .message = fmt::format("failed or lost {} times (retries: {})", failures,
                                     state.attempt->retries),
              .wall_s = 0,
              .time = now_s(),
              .is_final = true});
    }
    return -1;
  }

  void record(const std::string& path, int64_t number, const jobs::Stop& stop) {
    jobs::put_stop(path, number, restart_, stop);
    jobs::put_beat(path, number,
                   {.by = this_process(), .time = stop.time, .restart = restart_, .stop = stop});
  }

  // Runs the chosen job on the ranks of the group and records how it ended. Collective over the
  // group.
  void run_job() {
    const double start_s = now_s();
    std::optional<HeartbeatThread> heartbeat;

    // Each job has its own log, as if it ran alone; the pack's own messages stay on stderr.
    const auto usual_log = spdlog::default_logger();
    if (leads()) {
      heartbeat.emplace(folder(), attempt_.number, restart_);
      log_to(folder() + "/stderr.txt");
    }

    // The verb sees the ranks of the group as its world.
    auto own = control_->split(0, control_->rank());
    auto world = runtime_.exchange_world(std::move(own));

    Outcome outcome = compute();
    own = runtime_.exchange_world(std::move(world));

    // The ranks compare how it went over `control_`, which no job uses: it works even if messages
    // of the job were left unfinished.
    heartbeat.reset();
    outcome = of_group(outcome);

    // Messages may still be in flight in the communicator of a failed job: it cannot be freed.
    if (!outcome.intact) static_cast<void>(own.release());

    if (!leads()) return;
    if (!outcome.message.empty()) spdlog::error("event=failed message=\"{}\"", outcome.message);
    spdlog::default_logger()->flush();
    spdlog::set_default_logger(usual_log);
    finish(outcome, now_s() - start_s);
  }

  static void log_to(const std::string& path) {
    auto log = std::make_shared<spdlog::logger>(
        "job", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    log->set_pattern("%Y-%m-%dT%H:%M:%S%z level=%l %v");
    spdlog::set_default_logger(log);
  }

  Outcome compute() {
    std::vector<std::string> arguments{attempt_.command.begin() + 1, attempt_.command.end()};
    arguments.push_back("--quiet");
    try {
      return {run_verb(runtime_, attempt_.verb, arguments), ""};
    } catch (const Stopped&) {
      return {kExitStopped, ""};
    } catch (...) {
      const auto failure = current_failure();
      return {exit_code(failure.kind), failure.message, failure.agreed};
    }
  }

  // The first error of any rank is that of the group.
  Outcome of_group(const Outcome& own) {
    wait_without_timeout();
    const auto codes = all_gather_integer(*control_, own.code),
               intact = all_gather_integer(*control_, own.intact);
    const auto messages = all_gather_text(*control_, own.message);

    Outcome out;
    for (size_t r = 0; r < codes.size(); ++r) {
      out.intact = out.intact && intact[r];

      // A timeout (4) is only the consequence of another rank's error.
      const bool better = out.code == 4 && codes[r] != 0 && codes[r] != 4;
      if (out.code != 0 && !better) continue;
      out.code = static_cast<int>(codes[r]);
      out.message = messages[r];
    }
    return out;
  }

  void finish(const Outcome& outcome, double wall_s) {
    jobs::Stop stop{.code = outcome.code,
                    .reason = jobs::EndReason::kFailed,
                    .message = outcome.message,
                    .wall_s = wall_s,
                    .time = now_s(),
                    .is_final = true};

    if (outcome.code == 0) stop.reason = jobs::EndReason::kDone;
    if (outcome.code == kExitStopped) {
      stop.reason = jobs::EndReason::kTimeLimit;
      stop.message = jobs::kept_text(attempt_.verb);
      stop.is_final = false;
    }

    // A timeout may be transient: the next start of the pack tries the job again.
    if (outcome.code == 4)
      stop.is_final = jobs::read_state(folder()).failures() >= attempt_.retries + 1;

    record(folder(), attempt_.number, stop);
    fmt::print(stderr, "{}: {}{}{}\n", attempt_.name, jobs::end_name(stop.reason),
               outcome.message.empty() ? "" : ": ", outcome.message);
  }

  Runtime& runtime_;
  std::vector<jobs::BatchEntry> entries_;
  double start_s_;
  std::unique_ptr<Communicator> control_;
  int64_t chosen_ = -1, restart_ = 0;
  jobs::Attempt attempt_;
};

// One process runs all jobs. The device has to be prepared before the first of them computes on the
// CPU, and LibTorch reads the setting of cuBLAS's workspace once.
void prepare_for(const std::vector<jobs::BatchEntry>& entries) {
  const bool any = std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
    const auto state = jobs::read_state(entry.folder);
    if (!state.attempt) return false;
    const auto kind = jobs::verb_kind(state.attempt->verb);
    return kind == jobs::VerbKind::kTrain || kind == jobs::VerbKind::kCache;
  });
  if (!any) return;
  keep_cublas_deterministic();
  dissent::prepare_device(DeviceChoice::kAuto);
}

}  // namespace

int run_jobs_pack(Runtime& runtime, const std::vector<std::string>& arguments) {
  auto& world = runtime.world();
  int64_t ranks = 0;
  std::vector<jobs::BatchEntry> entries;
  agree(world, [&] {
    DISSENT_CHECK(arguments.size() == 3, kUsage,
                  "usage: mpirun -n RANKS dissent jobs pack LIST RANKS-PER-JOB");

    const auto& text = arguments[2];
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), ranks);
    DISSENT_CHECK(code == std::errc() && end == text.data() + text.size() && ranks >= 1 &&
                      world.size() % ranks == 0,
                  kUsage, "jobs pack: expected RANKS-PER-JOB to divide the {} ranks, found {}",
                  world.size(), text);

    entries = jobs::read_batch(arguments[1]);
    prepare_for(entries);
  });
  PackGroup(runtime, entries, ranks).run();

  // Groups that finish early wait here for the others, whatever their jobs' timeouts are.
  runtime.world().wait_settings().timeout_s = std::numeric_limits<double>::infinity();
  runtime.world().barrier();

  // The pack succeeds if every job of its list has an end, even a failure, which is recorded for
  // its row. Otherwise the exit code requests that the pack is queued again.
  bool all = true;
  for (const auto& entry : entries) {
    const auto state = jobs::read_state(entry.folder);
    all = all && (state.number != entry.number || state.end() || state.abandoned());
  }

  const auto done = all_gather_integer(runtime.world(), all);
  return std::find(done.begin(), done.end(), 0) == done.end() ? 0 : kExitStopped;
}

}  // namespace dissent::cli
