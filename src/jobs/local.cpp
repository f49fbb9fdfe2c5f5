#include "jobs/local.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#include <dissent/error.hpp>

#include "core/exit_codes.hpp"
#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "jobs/execute.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::jobs {
namespace {

volatile std::sig_atomic_t g_stop = 0;
void note_stop(int) { g_stop = g_stop + 1; }

constexpr size_t kPack = static_cast<size_t>(-1);

// A child process that runs one attempt, and the resources it occupies.
struct Running {
  pid_t process;
  size_t index;  // of its job, or kPack
  std::string name;
  std::vector<int> cores;
  std::vector<std::string> gpus;
};

class LocalRunner {
 public:
  LocalRunner(Queue& queue, const LocalOptions& options)
      : queue_(queue),
        options_(options),
        cores_(options.cores),
        gpus_(options.gpus),
        tried_(queue.size(), false),
        elsewhere_(queue.size(), false) {}

  int run() {
    // Signals only set a flag. The jobs are separate processes, so their state files record how
    // they ended: each round reads these files, then starts the jobs that are ready.
    for (const int number : {SIGINT, SIGTERM, SIGUSR1}) signal(number, note_stop);
    double asked_s = now_s();
    while (true) {
      // Each further signal is passed on again: the second one does not wait for checkpoints.
      if (g_stop > stopped_) stop();
      collect();

      // State files are read in each round; squeue is started only every ten seconds.
      const bool ask_slurm = now_s() > asked_s + 10;
      if (ask_slurm) asked_s = now_s();
      queue_.refresh(ask_slurm);

      watch_others();
      if (!g_stop) start_ready();

      if (running_.empty() && (g_stop || !waiting())) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return report();
  }

 private:
  void report_event(const std::string& name, const std::string& what) const {
    fmt::print(stderr, "{}: {}\n", name, what);
  }

  void stop() {
    stopped_ = g_stop;
    for (const auto& child : running_) kill(child.process, SIGTERM);
    fmt::print(stderr, "dissent jobs: requesting {} jobs to stop\n", running_.size());
  }

  // Whether anything may still change: a job runs, here or elsewhere, or waits for one that does.
  // Without this test the runner would wait for ever for jobs whose dependencies have failed.
  bool waiting() const {
    for (size_t i = 0; i < queue_.size(); ++i)
      if (queue_.is_picked(i) && !tried_[i] && is_under_way(queue_.status(i).phase)) return true;

    for (size_t i = 0; i < queue_.size(); ++i) {
      if (!startable(i)) continue;

      // All jobs that it waits for run, here or in another runner: it may become ready. An empty
      // list counts too: it is ready, and only waits for free cores.
      const auto unmet = queue_.unmet(i);
      if (std::all_of(unmet.begin(), unmet.end(),
                      [&](size_t other) { return is_under_way(queue_.status(other).phase); }))
        return true;
    }
    return false;
  }

  // A job that failed while another runner ran it is not tried again by this one.
  void watch_others() {
    for (size_t i = 0; i < queue_.size(); ++i) {
      const auto phase = queue_.status(i).phase;
      if (is_under_way(phase)) elsewhere_[i] = true;
      if (elsewhere_[i] && (phase == Phase::kFailed || phase == Phase::kCancelled))
        tried_[i] = true;
    }
  }

  bool startable(size_t i) const {
    return queue_.is_picked(i) && !tried_[i] && may_start(queue_.status(i).phase);
  }

  // Reports jobs that have ended and frees their cores and GPUs.
  void collect() {
    for (auto at = running_.begin(); at != running_.end();) {
      if (!poll_exit_code(at->process)) {
        ++at;
        continue;
      }

      cores_.insert(cores_.end(), at->cores.begin(), at->cores.end());
      gpus_.insert(gpus_.end(), at->gpus.begin(), at->gpus.end());

      // The jobs of a pack have statuses of their own.
      if (at->index != kPack) {
        queue_.refresh(false);
        const auto& status = queue_.status(at->index);
        report_event(at->name, fmt::format("{}{}{}{}{}", phase_name(status.phase),
                                           status.detail.empty() ? "" : ": ", status.detail,
                                           status.log.empty() ? "" : "; log: ", status.log));
      } else {
        report_event(at->name, "ended");
      }
      at = running_.erase(at);
    }
  }

  void start_ready() {
    std::vector<size_t> ready;
    for (size_t i = 0; i < queue_.size(); ++i)
      if (startable(i) && queue_.unmet(i).empty()) ready.push_back(i);

    // Packs first: a job that is started by itself can no longer join one.
    if (options_.pack_ranks > 0)
      for (const auto& group : pack_groups(queue_, ready, options_.pack_ranks)) start_pack(group);

    // A small job may overtake a large one that does not fit yet.
    for (const size_t i : ready) {
      const auto& job = queue_.job(i);
      if (tried_[i] || !fits(job)) continue;
      const auto attempt = queue_.next_attempt(i, Backend::kLocal, "", -1);
      if (!attempt) {  // another runner claimed it first
        elsewhere_[i] = true;
        continue;
      }
      tried_[i] = true;
      launch(job, i, queue_.folder(i), attempt->number);
    }
  }

  void start_pack(const std::vector<size_t>& group) {
    // Checked before anything is claimed: a claimed pack has to be started.
    Job shape = queue_.job(group[0]);
    shape.ranks = options_.pack_ranks;
    if (!fits(shape)) return;
    const auto pack = make_pack(queue_, group, options_.pack_ranks, Backend::kLocal);
    for (const size_t i : group) tried_[i] = true;
    if (pack) launch(pack->job, kPack, pack->folder, pack->attempt.number);
  }

  int64_t cores_of(const Job& job) const {
    // A job that is larger than the machine takes all of it.
    return std::min<int64_t>(job.ranks * job.threads, static_cast<int64_t>(options_.cores.size()));
  }
  bool fits(const Job& job) const {
    DISSENT_CHECK(job.gpus <= static_cast<int64_t>(options_.gpus.size()), kUsage,
                  "{0}: expected {1} GPUs, found {2} (--gpus); --gpus none runs the rows on CPUs",
                  job.name, job.gpus, options_.gpus.size());
    return cores_of(job) <= static_cast<int64_t>(cores_.size()) &&
           job.gpus <= static_cast<int64_t>(gpus_.size());
  }

  void launch(const Job& job, size_t index, const std::string& folder, int64_t number) {
    Running child{-1,
                  index,
                  job.name,
                  {cores_.begin(), cores_.begin() + cores_of(job)},
                  {gpus_.begin(), gpus_.begin() + job.gpus}};

    // Cores and GPUs are taken from the lists and given back by collect().
    cores_.erase(cores_.begin(), cores_.begin() + cores_of(job));
    gpus_.erase(gpus_.begin(), gpus_.begin() + job.gpus);

    // Without CUDA_VISIBLE_DEVICES each job would see all GPUs; an empty list hides them all from a
    // job that did not request one.
    std::vector<std::pair<std::string, std::string>> environment{
        {"OMP_NUM_THREADS", std::to_string(job.threads)}};
    if (!options_.gpus.empty())
      environment.emplace_back("CUDA_VISIBLE_DEVICES",
                               fmt::format("{}", fmt::join(child.gpus, ",")));

    // Each job is run by a `jobs exec` that outlives this process: it records how the job ended.
    make_folder(folder);
    child.process = start_process({.argv = exec_command(job, folder, number),
                                   .environment = environment,
                                   .out = folder + "/batch.log",
                                   .err = folder + "/batch.log",
                                   .cores = child.cores,
                                   .dies_with_parent = false});
    report_event(
        job.name,
        fmt::format(
            "started, {} ranks on cores {}{}", job.ranks, fmt::join(child.cores, ","),
            child.gpus.empty() ? "" : fmt::format(", GPUs {}", fmt::join(child.gpus, ","))));
    running_.push_back(std::move(child));
  }

  std::vector<std::string> exec_command(const Job& job, const std::string& folder,
                                        int64_t number) const {
    std::vector<std::string> argv{front_program(),        "jobs", "exec", folder,
                                  std::to_string(number), "--"};

    // One rank needs no launcher.
    if (job.ranks > 1) {
      argv.insert(argv.end(), options_.mpirun.begin(), options_.mpirun.end());
      argv.insert(argv.end(), {"-n", std::to_string(job.ranks)});
    }
    argv.push_back(front_program());
    return argv;
  }

  // Prints why jobs were not started, and returns the exit code.
  int report() {
    queue_.refresh(true);
    queue_.note_not_started();
    bool all = true;
    for (size_t i = 0; i < queue_.size(); ++i) {
      if (!queue_.is_picked(i) || queue_.status(i).phase == Phase::kDone) continue;
      all = false;

      // Jobs that were tried have been reported when they ended.
      const auto unmet = queue_.unmet(i);
      if (tried_[i] || unmet.empty()) continue;
      std::string why = queue_.status(i).detail;
      if (why.empty())
        why = fmt::format("not started: waits for {}, which is {}", queue_.job(unmet[0]).name,
                          phase_name(queue_.status(unmet[0]).phase));
      report_event(queue_.job(i).name, why);
    }

    if (all) return 0;
    return g_stop ? kExitStopped : exit_code(ErrorKind::kCheck);
  }

  Queue& queue_;
  const LocalOptions& options_;
  std::vector<int> cores_;
  std::vector<std::string> gpus_;
  std::vector<bool> tried_, elsewhere_;
  std::vector<Running> running_;
  int stopped_ = 0;
};

}  // namespace

int run_local(Queue& queue, const LocalOptions& options) {
  return LocalRunner(queue, options).run();
}

}  // namespace dissent::jobs
