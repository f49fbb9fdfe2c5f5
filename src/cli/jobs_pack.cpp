#include <spdlog/sinks/basic_file_sink.h>

#include <charconv>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

#include "cli/compute.hpp"
#include "comm/device.hpp"
#include "core/exit_codes.hpp"
#include "core/stop.hpp"
#include "core/torch_failure.hpp"
#include "jobs/execute.hpp"
#include "jobs/queue.hpp"

namespace dissent::cli {
namespace {

// The sign of life of a job while its ranks compute: a thread of the group's first rank, which
// writes files only.
class Beating {
 public:
  Beating(const std::string& folder, int64_t number, int64_t restart)
      : folder_(folder), number_(number), restart_(restart), thread_([this] { beat(); }) {}
  ~Beating() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Beating(const Beating&) = delete;
  Beating& operator=(const Beating&) = delete;

 private:
  void beat() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      try {
        jobs::put_beat(
            folder_, number_,
            {.by = jobs::this_process(), .time = jobs::now_s(), .restart = restart_, .stop = {}});
      } catch (const Error& error) {  // a full disk is no reason to end a run
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

// A group of ranks that takes one job after the other, until none is left.
class PackGroup {
 public:
  PackGroup(Runtime& runtime, std::vector<jobs::BatchEntry> entries, int64_t ranks)
      : runtime_(runtime),
        entries_(std::move(entries)),
        start_s_(jobs::now_s()),
        control_(runtime.world().split(static_cast<int>(runtime.world().rank() / ranks),
                                       runtime.world().rank())) {}

  void run() {
    while (take()) run_job();
  }

 private:
  bool leads() const { return control_->rank() == 0; }
  // What the first rank of the group says.
  int64_t of_leader(int64_t value) {
    patient();
    return all_gather_integer(*control_, value)[0];
  }
  // A group may wait for long: for a slow rank, for one that finds out by its own timeout that a
  // message will not come.
  void patient() { control_->wait_settings().timeout_s = std::numeric_limits<double>::infinity(); }

  // The next job that is free; false: there is none left, or the job is asked to stop.
  bool take() {
    int64_t chosen = -1;
    while (leads() && chosen < 0 && !stop_requested()) {
      bool wait = false;
      chosen = find(wait);
      if (!wait) break;
      if (chosen < 0) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    chosen_ = of_leader(chosen);
    restart_ = of_leader(restart_);
    if (chosen_ < 0) return false;
    attempt_ = *jobs::read_state(folder()).attempt;
    return true;
  }

  const std::string& folder() const { return entries_[chosen_].folder; }

  // wait: a job may become free, since the process that ran it when the pack was stopped seems to
  // live still.
  int64_t find(bool& wait) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      const auto state = jobs::read_state(entries_[i].folder);
      if (state.number != entries_[i].number || !state.attempt || state.end() || state.abandoned())
        continue;
      if (state.alive()) {
        const auto* start = state.last_start();
        wait = wait || (start && start->time < start_s_);
        continue;
      }
      const int64_t lost = state.failures();
      std::string why;
      const auto restart = jobs::begin(entries_[i].folder, *state.attempt, why);
      if (!restart) continue;
      restart_ = *restart;
      if (lost <= state.attempt->retries) return static_cast<int64_t>(i);
      record(entries_[i].folder, state.number,
             {.code = 4,
              .reason = "failed",
              .message = fmt::format("failed or was lost {} times", lost),
              .wall_s = 0,
              .time = jobs::now_s(),
              .is_final = true});
    }
    return -1;
  }

  void record(const std::string& path, int64_t number, const jobs::Stop& stop) {
    jobs::put_stop(path, number, restart_, stop);
    jobs::put_beat(
        path, number,
        {.by = jobs::this_process(), .time = stop.time, .restart = restart_, .stop = stop});
  }

  void run_job() {
    const double start_s = jobs::now_s();
    std::optional<Beating> beating;
    const auto usual_log = spdlog::default_logger();
    if (leads()) {
      beating.emplace(folder(), attempt_.number, restart_);
      auto log = std::make_shared<spdlog::logger>(
          "job", std::make_shared<spdlog::sinks::basic_file_sink_mt>(folder() + "/stderr.txt"));
      log->set_pattern("%Y-%m-%dT%H:%M:%S%z level=%l %v");
      spdlog::set_default_logger(log);
    }
    auto own = control_->split(0, control_->rank());
    auto world = runtime_.exchange_world(std::move(own));
    Outcome outcome = compute();
    own = runtime_.exchange_world(std::move(world));
    beating.reset();
    outcome = of_group(outcome);
    if (!outcome.intact)
      static_cast<void>(own.release());  // messages may be under way in it: it cannot be freed
    if (!leads()) return;
    if (!outcome.message.empty()) spdlog::error("event=failed message=\"{}\"", outcome.message);
    spdlog::default_logger()->flush();
    spdlog::set_default_logger(usual_log);
    finish(outcome, jobs::now_s() - start_s);
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

  // The first rank's trouble is that of the group.
  Outcome of_group(const Outcome& own) {
    patient();
    const auto codes = all_gather_integer(*control_, own.code),
               intact = all_gather_integer(*control_, own.intact);
    const auto messages = all_gather_text(*control_, own.message);
    Outcome out;
    for (size_t r = 0; r < codes.size(); ++r) {
      out.intact = out.intact && intact[r];
      if (out.code == 0 || (codes[r] != 0 && codes[r] != 4 && out.code == 4))
        out.code = static_cast<int>(codes[r]),
        out.message = messages[r];  // a timeout is what follows from another's error
    }
    return out;
  }

  void finish(const Outcome& outcome, double wall_s) {
    jobs::Stop stop{.code = outcome.code,
                    .reason = "failed",
                    .message = outcome.message,
                    .wall_s = wall_s,
                    .time = jobs::now_s(),
                    .is_final = true};
    if (outcome.code == 0) stop.reason = "done";
    if (outcome.code == kExitStopped)
      stop.reason = "time limit", stop.message = jobs::kept_text(attempt_.verb),
      stop.is_final = false;
    if (outcome.code == 4)
      stop.is_final = jobs::read_state(folder()).failures() >= attempt_.retries + 1;
    record(folder(), attempt_.number, stop);
    fmt::print(stderr, "{}: {}{}{}\n", attempt_.name, stop.reason,
               outcome.message.empty() ? "" : ": ", outcome.message);
  }

  Runtime& runtime_;
  std::vector<jobs::BatchEntry> entries_;
  double start_s_;
  std::unique_ptr<Communicator> control_;
  int64_t chosen_ = -1, restart_ = 0;
  jobs::Attempt attempt_;
};

// One process runs job after job. What a job on the CPU computes would make it too late for a GPU
// in a later one, and LibTorch reads cuBLAS' workspace once.
void prepare_for(const std::vector<jobs::BatchEntry>& entries) {
  const bool any = std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
    const auto state = jobs::read_state(entry.folder);
    return state.attempt && (state.attempt->verb == "train" || state.attempt->verb == "cache");
  });
  if (!any) return;
  keep_cublas_deterministic();
  dissent::prepare_device("auto");
}

}  // namespace

int run_jobs_pack(Runtime& runtime, const std::vector<std::string>& arguments) {
  auto& world = runtime.world();
  int64_t ranks = 0;
  std::vector<jobs::BatchEntry> entries;
  agree(world, [&] {
    DISSENT_CHECK(arguments.size() == 3, kUsage,
                  "usage: mpirun -n RANKS dissent jobs pack LIST RANKS-OF-A-JOB");
    const auto& text = arguments[2];
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), ranks);
    DISSENT_CHECK(code == std::errc() && end == text.data() + text.size() && ranks >= 1 &&
                      world.size() % ranks == 0,
                  kUsage, "jobs pack: {} ranks of a job do not divide the {} of the pack", text,
                  world.size());
    entries = jobs::read_batch(arguments[1]);
    prepare_for(entries);
  });
  PackGroup(runtime, entries, ranks).run();
  runtime.world().wait_settings().timeout_s = std::numeric_limits<double>::infinity();
  runtime.world().barrier();
  bool all = true;
  for (const auto& entry : entries) {
    const auto state = jobs::read_state(entry.folder);
    all = all && (state.number != entry.number || state.end() || state.abandoned());
  }
  const auto done = all_gather_integer(runtime.world(), all);
  return std::find(done.begin(), done.end(), 0) == done.end() ? 0 : kExitStopped;
}

}  // namespace dissent::cli
