#include "jobs/submit.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <dissent/error.hpp>

#include "core/divide_up.hpp"
#include "core/edited_text.hpp"
#include "core/process.hpp"
#include "core/program_paths.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::jobs {
namespace {

namespace fs = std::filesystem;

// One call of sbatch: a job, an array of jobs with equal requirements, or a pack.
struct Batch {
  std::string name;                       // unique: Slurm keeps it as the comment
  std::string display_name;               // for users: sheet and row
  Job shape;                              // ranks, threads, template, options
  std::vector<size_t> members;            // indices of jobs
  std::vector<std::string> dependencies;  // Slurm's ids of the jobs to wait for
};

class Submitter {
 public:
  Submitter(Queue& queue, const SubmitOptions& options) : queue_(queue), options_(options) {}

  int run() {
    adopt();

    // Each round may make more jobs ready, because their dependencies have an id now. Jobs that
    // other submitters have claimed get theirs soon, or are lost after the lease.
    const double end = now_s() + 2 * lease_s();
    while (!submit_ready() || (waits_for_others() && now_s() < end)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      queue_.refresh(true);
    }
    return report();
  }

 private:
  int64_t array_size() {
    if (array_size_ == 0) array_size_ = max_array_size();
    return array_size_;
  }

  // As squeue shows it: sheet and row, "sdde_cifar10:gradcam-1", of several jobs "...+4".
  std::string display_name(const std::string& row, size_t count) const {
    return fmt::format("{}:{}{}", as_name(fs::path(queue_.sheet()).stem().string()), row,
                       count > 1 ? fmt::format("+{}", count - 1) : "");
  }

  // Records the ids of jobs whose submitter was killed before it could.
  void adopt() {
    for (size_t i = 0; i < queue_.size(); ++i) {
      const auto& status = queue_.status(i);
      if (queue_.job(i).enabled && status.state.submitted.empty() && is_under_way(status.phase) &&
          status.where.starts_with("slurm "))
        put_submitted(queue_.folder(i), status.state.number, status.where.substr(6));
    }
    queue_.refresh(false);
  }

  // Submits all jobs whose dependencies are done or in Slurm. True if there were none.
  bool submit_ready() {
    std::vector<size_t> ready;
    for (size_t i = 0; i < queue_.size(); ++i)
      if (queue_.is_picked(i) && may_start(queue_.status(i).phase) && !tried_.contains(i) &&
          dependencies_of(i))
        ready.push_back(i);
    if (ready.empty()) return true;

    // Packs first; what they do not take is submitted on its own or in arrays.
    if (options_.pack_ranks > 0) {
      for (const auto& group : pack_groups(queue_, ready, options_.pack_ranks)) submit_pack(group);
      std::erase_if(ready, [&](size_t i) { return tried_.contains(i); });
    }
    for (auto& batch : batches_of(ready)) submit_parts(batch);
    return false;
  }

  // Groups jobs with equal requirements, which can share a job array.
  std::vector<Batch> batches_of(const std::vector<size_t>& ready) {
    std::map<std::string, Batch> batches;
    for (const size_t i : ready) {
      tried_.insert(i);
      const auto& job = queue_.job(i);
      const auto dependencies = *dependencies_of(i);

      // Tasks of an array have the same options and wait for the same jobs.
      const std::string requirements =
          fmt::format("{}\n{}\n{}\n{}\n{}\n{}", job.template_name, job.ranks, job.threads, job.gpus,
                      fmt::join(job.slurm, "\n"), fmt::join(dependencies, ":"));
      auto& batch = batches[options_.arrays ? requirements : std::to_string(i)];
      batch.shape = job;
      batch.dependencies = dependencies;
      batch.members.push_back(i);
    }

    std::vector<Batch> out;
    for (auto& [requirements, batch] : batches) out.push_back(std::move(batch));
    return out;
  }

  // Submits a batch in arrays that are no longer than the cluster allows.
  void submit_parts(Batch& batch) {
    // A single job needs no array, so its length is not asked for.
    const auto members = std::exchange(batch.members, {});
    const auto longest = members.size() > 1 ? static_cast<size_t>(array_size()) : 1;
    for (size_t first = 0; first < members.size(); first += longest) {
      const size_t end = std::min(members.size(), first + longest);
      batch.members.assign(members.begin() + static_cast<std::ptrdiff_t>(first),
                           members.begin() + static_cast<std::ptrdiff_t>(end));
      submit_batch(batch);
    }
  }

  // A job waits for one that another submitter has claimed and that has no id yet.
  bool waits_for_others() const {
    for (size_t i = 0; i < queue_.size(); ++i) {
      if (!queue_.is_picked(i) || !may_start(queue_.status(i).phase) || tried_.contains(i))
        continue;

      // Its submitter is about to call sbatch: the id will come, and the job can then depend on
      // it.
      const auto unmet = queue_.unmet(i);
      if (std::any_of(unmet.begin(), unmet.end(), [&](size_t other) {
            return queue_.status(other).phase == Phase::kSubmitting;
          }))
        return true;
    }
    return false;
  }

  // Slurm's id of a job that is pending or running; "" if it has none.
  std::string id_of(size_t i) const {
    const auto& status = queue_.status(i);
    const auto& attempt = status.state.attempt;
    if (!is_under_way(status.phase)) return "";

    // A job in a pack is as far as its pack: this one has the id.
    if (attempt && attempt->backend == Backend::kPack)
      return read_state(job_folder(queue_.state_root(), attempt->batch)).submitted;
    if (!status.state.submitted.empty()) return status.state.submitted;
    return status.where.starts_with("slurm ") ? status.where.substr(6) : "";
  }

  // Slurm's ids of the jobs that job i waits for; nothing if some of them are not in Slurm.
  std::optional<std::vector<std::string>> dependencies_of(size_t i) const {
    std::set<std::string> ids;
    for (const size_t other : queue_.unmet(i)) {
      const auto id = id_of(other);
      if (id.empty()) return std::nullopt;
      ids.insert(id);
    }
    return whole_arrays(ids);
  }

  // Replaces "12_0", "12_1", ... by the array "12" where its other tasks are done: the ids of
  // thousands of tasks are too long for a command line. An array with a failed task is not
  // replaced, because afterok would never be met.
  std::vector<std::string> whole_arrays(const std::set<std::string>& ids) const {
    // "12_3" is task 3 of array 12; an id without '_' is a job by itself.
    std::map<std::string, std::vector<std::string>> arrays;
    std::vector<std::string> out;
    for (const auto& id : ids) {
      const auto at = id.find('_');
      if (at == std::string::npos)
        out.push_back(id);
      else
        arrays[id.substr(0, at)].push_back(id);
    }

    for (const auto& [array, tasks] : arrays) {
      if (tasks.size() > 1 && all_done_or_among(ids, array))
        out.push_back(array);
      else
        out.insert(out.end(), tasks.begin(), tasks.end());
    }
    return out;
  }

  // Whether each task of an array is among `ids` or done.
  bool all_done_or_among(const std::set<std::string>& ids, const std::string& array) const {
    size_t good = 0;
    std::string batch;
    for (size_t i = 0; i < queue_.size(); ++i) {
      const auto& status = queue_.status(i);
      const auto& id = status.state.submitted;
      if (!id.starts_with(array + "_") || !status.state.attempt) continue;
      batch = status.state.attempt->batch;
      if (ids.contains(id) || status.phase == Phase::kDone) ++good;
    }

    // The batch lists all tasks of the array, including those of rows that have left the sheet.
    const auto list = fmt::format("{}/batches/{}.json", queue_.state_root(), batch);
    return !batch.empty() && path_exists(list) && read_batch(list).size() == good;
  }

  void submit_pack(const std::vector<size_t>& group) {
    // Jobs of a group wait for the same jobs (pack_groups), so those of the first one are the
    // pack's.
    const auto dependencies = dependencies_of(group[0]);
    const auto pack = make_pack(queue_, group, options_.pack_ranks, Backend::kSlurm);
    for (const size_t i : group) tried_.insert(i);
    if (!pack) return;

    const auto list =
        write_batch(queue_.state_root(), pack->attempt.batch + "-job", {{pack->folder, 1}});
    const Batch batch{pack->job.key,
                      display_name(queue_.job(group[0]).name, group.size()),
                      pack->job,
                      {},
                      *dependencies};
    try {
      const auto id = call_sbatch(batch, list, pack->folder, 0);
      put_submitted(pack->folder, 1, id);
      for (const size_t i : group)
        fmt::print("{}: submitted in {}, slurm {}\n", queue_.job(i).name, pack->job.key, id);
    } catch (const Error& error) {
      queue_.give_up(pack->attempt, error.what());
      fmt::print("{}: {}\n", pack->job.key, error.what());
      refused_ = true;
    }
  }

  void submit_batch(Batch& batch) {
    std::vector<std::string> keys;
    for (const size_t i : batch.members) keys.push_back(queue_.job(i).key);
    batch.name = batch_name(keys);
    const bool array = batch.members.size() > 1;

    // Claimed before sbatch is called, so that no other submitter submits the same jobs. Jobs that
    // another one claimed first are left out, so indices in the array are counted here.
    std::vector<BatchEntry> entries;
    std::vector<std::pair<size_t, Attempt>> claimed;
    for (const size_t i : batch.members) {
      const int64_t index = array ? static_cast<int64_t>(entries.size()) : -1;
      const auto attempt = queue_.next_attempt(i, Backend::kSlurm, batch.name, index);
      if (!attempt) continue;
      entries.push_back({queue_.folder(i), attempt->number});
      claimed.emplace_back(i, *attempt);
    }
    if (claimed.empty()) return;

    batch.display_name = display_name(queue_.job(claimed[0].first).name, claimed.size());
    const auto list = write_batch(queue_.state_root(), batch.name, entries);

    try {
      const auto id = call_sbatch(batch, list, entries[0].folder, array ? claimed.size() : 0);
      for (size_t k = 0; k < claimed.size(); ++k) {
        const auto own = array ? fmt::format("{}_{}", id, k) : id;
        put_submitted(entries[k].folder, entries[k].number, own);
        fmt::print("{}: submitted, slurm {}\n", queue_.job(claimed[k].first).name, own);
      }
    } catch (const Error& error) {
      // Each claimed attempt is ended with sbatch's message: `jobs status` shows it, and the next
      // call can claim a new attempt at once.
      refused_ = true;
      for (const auto& [i, attempt] : claimed) {
        queue_.give_up(attempt, error.what());
        fmt::print("{}: {}\n", queue_.job(i).name, error.what());
      }
    }
    std::fflush(stdout);
  }

  // Whether the sheet's row sets an option of sbatch.
  static bool sets(const Job& job, const std::string& option) {
    return std::any_of(job.slurm.begin(), job.slurm.end(), [&](const std::string& text) {
      return text.starts_with("--" + option + "=");
    });
  }

  // Tasks per node: as many as the nodes need for all ranks.
  static void add_tasks_per_node(const Job& job, std::vector<std::string>& options) {
    if (sets(job, "ntasks-per-node")) return;

    // All ranks on the one node; with --nodes in the sheet they are spread evenly.
    const bool one_node = job.template_name == "one_node" || job.template_name == "gpu_node";
    if (one_node && !sets(job, "nodes"))
      options.push_back(fmt::format("--ntasks-per-node={}", job.ranks));

    constexpr std::string_view kNodes = "--nodes=";
    for (const auto& text : job.slurm) {
      if (!text.starts_with(kNodes)) continue;
      const int64_t nodes = std::atoll(text.c_str() + kNodes.size());
      if (nodes > 0)
        options.push_back(fmt::format("--ntasks-per-node={}", divide_up(job.ranks, nodes)));
    }
  }

  // size: tasks of the array; 0: no array. Returns Slurm's job id.
  std::string call_sbatch(const Batch& batch, const std::string& list, const std::string& folder,
                          size_t size) const {
    const auto& job = batch.shape;

    // The name of a template is a user's cell, so its file may be missing.
    const std::string script_of_site =
        fmt::format("{}/{}.sbatch", options_.slurm_folder, job.template_name);
    DISSENT_CHECK(path_exists(script_of_site), kUsage,
                  "template: expected a batch script {}, found no such file", script_of_site);

    // A copy, because the site's script may be edited while the job is queued.
    const std::string script = fmt::format("{}/{}.sbatch", folder, batch.name);
    replace(script, edited_text(read_text(script_of_site), script_of_site));

    // --comment: the unique name by which the job is found if its id could not be recorded.
    // --requeue: Slurm restarts the job after a node failure.
    std::vector<std::string> options{
        "--job-name=" + batch.display_name,
        "--comment=" + batch.name,
        fmt::format("--ntasks={}", job.ranks),
        fmt::format("--cpus-per-task={}", job.threads),
        "--requeue",
        fmt::format("--output={}/batches/{}-%j.log", queue_.state_root(), batch.name)};

    add_tasks_per_node(job, options);
    if (job.gpus > 0 && !sets(job, "gpus-per-node") && !sets(job, "gres"))
      options.push_back(fmt::format("--gpus-per-node={}", job.gpus));
    if (size > 0)
      options.push_back(
          fmt::format("--array=0-{}{}", size - 1,
                      options_.throttle > 0 ? fmt::format("%{}", options_.throttle) : ""));

    // Without kill-on-invalid-dep a job whose dependency failed would be pending for ever.
    if (!batch.dependencies.empty())
      options.insert(options.end(),
                     {fmt::format("--dependency=afterok:{}", fmt::join(batch.dependencies, ":")),
                      "--kill-on-invalid-dep=yes"});

    // Options of the sheet come last: of an option that is given twice, sbatch takes the last.
    options.insert(options.end(), job.slurm.begin(), job.slurm.end());
    return sbatch(options_.slurm_folder + "/submit", options, script, {"--job", list});
  }

  // Prints the jobs that were not submitted, and returns the exit code.
  int report() {
    // What was not submitted is shown with the job that it waits for.
    queue_.refresh(true);
    queue_.note_not_started();
    bool all = !refused_;
    for (size_t i = 0; i < queue_.size(); ++i) {
      const auto& status = queue_.status(i);
      if (!queue_.is_picked(i)) continue;
      if (!tried_.contains(i))
        fmt::print("{}: {}{}\n", queue_.job(i).name, phase_name(status.phase), waits_text(i));
      all = all && !may_start(status.phase);
    }
    return all ? 0 : exit_code(ErrorKind::kCheck);
  }

  std::string waits_text(size_t i) const {
    if (!may_start(queue_.status(i).phase)) return "";
    for (const size_t other : queue_.unmet(i))
      if (id_of(other).empty())
        return fmt::format(": not submitted: waits for {}, which is {} and not in Slurm",
                           queue_.job(other).name, phase_name(queue_.status(other).phase));
    return "";
  }

  Queue& queue_;
  const SubmitOptions& options_;
  std::set<size_t> tried_;
  bool refused_ = false;
  int64_t array_size_ = 0;  // 0: not known yet
};

}  // namespace

int submit(Queue& queue, const SubmitOptions& options) { return Submitter(queue, options).run(); }

std::string find_slurm_folder() {
  std::vector<std::string> places;
  if (const char* home = std::getenv("DISSENT_HOME"))
    places.push_back(std::string(home) + "/slurm");

  // A build folder of the source tree, or the bin folder of an installation.
  const auto program = fs::path(front_program());
  for (const char* up : {"../slurm", "../../slurm", "../../../slurm", "../share/dissent/slurm"})
    places.push_back((program.parent_path() / up).lexically_normal().string());

  for (const auto& place : places)
    if (path_exists(place + "/job.sh")) return fs::absolute(place).string();
  DISSENT_FAIL(
      kData,
      "expected the folder slurm/ of Dissent (job.sh, site.sh, templates) in {}, found none; "
      "give --templates or DISSENT_HOME",
      fmt::join(places, ", "));
}

}  // namespace dissent::jobs
