#include "jobs/queue.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <set>

#include <dissent/error.hpp>
#include <nlohmann/json.hpp>

#include "storage/atomic_file.hpp"
#include "storage/json_record.hpp"

namespace dissent::jobs {

Queue::Queue(std::vector<Job> jobs, const std::vector<Job>& picked, std::string sheet,
             std::string state_root)
    : jobs_(std::move(jobs)), sheet_(std::move(sheet)), state_root_(std::move(state_root)) {
  std::set<std::string> names;
  for (const auto& job : picked) names.insert(job.name);

  // All jobs of the sheet are kept, since those that are picked may depend on the others.
  for (size_t i = 0; i < jobs_.size(); ++i) {
    picked_.push_back(names.contains(jobs_[i].name) && jobs_[i].enabled);
    if (!jobs_[i].key.empty()) by_key_[jobs_[i].key] = i;
  }
  note_off(jobs_, state_root_, slurm_);
  refresh(true);
}

void Queue::refresh(bool ask_slurm) {
  if (ask_slurm) slurm_.forget();
  statuses_.clear();
  for (const auto& job : jobs_) statuses_.push_back(status_of(job, state_root_, slurm_));
}

std::vector<size_t> Queue::unmet(size_t i) const {
  std::vector<size_t> out;
  for (const auto& key : jobs_[i].after)
    if (const size_t other = by_key_.at(key); statuses_[other].phase != Phase::kDone)
      out.push_back(other);
  return out;
}

namespace {

// The start whose end is missing; behind the last one where each start has an end.
int64_t restart_to_end(const JobState& state) {
  const auto count = static_cast<int64_t>(std::max(state.starts.size(), state.stops.size()));
  const bool end_missing = state.stops.size() < state.starts.size() || state.starts.empty();
  return end_missing ? std::max<int64_t>(0, count - 1) : count;
}

}  // namespace

std::optional<Attempt> Queue::next_attempt(size_t i, Backend backend, const std::string& batch,
                                           int64_t index) const {
  const auto& job = jobs_[i];
  const auto& state = statuses_[i].state;

  // An attempt that has not begun is abandoned; one that has begun gets the end that its process
  // could not record. If the process lives after all, its own files win and nothing is submitted.
  const bool open = state.number > 0 && !state.end() && !state.abandoned();
  if (open && !state.begun() && !abandon(folder(i), state.number)) return std::nullopt;
  if (open && state.begun()) {
    put_stop(folder(i), state.number, restart_to_end(state),
             {.code = 4,
              .reason = EndReason::kLost,
              .message = statuses_[i].detail,
              .wall_s = state.wall_without_end_s(),
              .time = now_s(),
              .is_final = true});
    if (!read_state(folder(i)).end()) return std::nullopt;
  }

  // An interrupted attempt at replacing a result is continued where its runs are.
  const bool replaces = state.attempt && state.attempt->again && !state.is_done();
  auto attempt = attempt_of(job, state.number + 1, sheet_, backend, replaces || statuses_[i].again);
  attempt.batch = batch;
  attempt.index = index;

  // The wall time of interrupted attempts at the same result is carried on; a result that is
  // computed again starts with none. The claim decides between several submitters.
  if (!state.is_done() && !statuses_[i].again) attempt.wall_before_s = state.wall_s();
  return claim(folder(i), attempt) ? std::optional(attempt) : std::nullopt;
}

void Queue::give_up(const Attempt& attempt, const std::string& message) const {
  // A start and an end, as if it had run: nothing else may begin it any more.
  const auto path = job_folder(state_root_, attempt.key);
  abandon(path, attempt.number);
  put_stop(path, attempt.number, 0,
           {.code = 3,
            .reason = EndReason::kFailed,
            .message = message,
            .wall_s = 0,
            .time = now_s(),
            .is_final = true});
}

std::string batch_name(const std::vector<std::string>& keys) {
  // Time and process make the name unique, also for the same jobs later.
  const auto own = this_process();
  const std::string text =
      fmt::format("{} {} {} {}", fmt::join(keys, " "), own.host, own.pid, now_s());
  return fmt::format("dissent-{:016x}", XXH3_64bits(text.data(), text.size()));
}

std::string write_batch(const std::string& state_root, const std::string& batch,
                        const std::vector<BatchEntry>& entries) {
  auto json = nlohmann::json::array();
  for (const auto& entry : entries)
    json.push_back({{"folder", entry.folder}, {"attempt", entry.number}});
  make_folder(state_root + "/batches");
  const std::string path = fmt::format("{}/batches/{}.json", state_root, batch);
  replace(path, json.dump(1) + "\n");
  return path;
}

std::vector<BatchEntry> read_batch(const std::string& path) {
  std::vector<BatchEntry> entries;
  try {
    for (const auto& entry : parse_record(read_text(path)))
      entries.push_back({entry.at("folder"), entry.at("attempt")});
  } catch (const nlohmann::json::exception& error) {
    DISSENT_FAIL(kData, "{}: {}", path, error.what());
  }
  return entries;
}

std::vector<std::vector<size_t>> pack_groups(const Queue& queue, const std::vector<size_t>& ready,
                                             int64_t ranks) {
  std::map<std::string, std::vector<size_t>> groups;
  for (const size_t i : ready) {
    const auto& job = queue.job(i);
    const auto kind = verb_kind(job.verb);

    // A pack divides its ranks into equal groups, one per job at a time.
    const bool packable = kind == VerbKind::kTrain || kind == VerbKind::kEvaluate;
    if (!packable || ranks % job.ranks != 0 || job.ranks == ranks) continue;

    // Everything that has to be equal for jobs of one MPI job goes into the key of the group: its
    // resources, its options of sbatch and the jobs that it waits for.
    std::set<std::string> unmet;
    for (const size_t other : queue.unmet(i)) unmet.insert(queue.job(other).key);
    groups[fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", job.ranks, job.threads, job.gpus,
                       job.template_name, job.stage, fmt::join(job.slurm, "\n"),
                       fmt::join(unmet, " "))]
        .push_back(i);
  }

  // A pack of one job has no use.
  std::vector<std::vector<size_t>> out;
  for (auto& [key, group] : groups)
    if (group.size() > 1) out.push_back(std::move(group));
  return out;
}

std::optional<Pack> make_pack(const Queue& queue, const std::vector<size_t>& group, int64_t ranks,
                              Backend backend) {
  std::vector<std::string> keys;
  for (const size_t i : group) keys.push_back(queue.job(i).key);
  Pack pack;
  pack.job = queue.job(group[0]);
  pack.job.key = "pack" + batch_name(keys).substr(7);  // instead of "dissent"

  // Jobs that another submitter claims meanwhile are left out.
  std::vector<BatchEntry> entries;
  for (const size_t i : group) {
    const auto attempt =
        queue.next_attempt(i, Backend::kPack, pack.job.key, static_cast<int64_t>(entries.size()));
    if (attempt) entries.push_back({queue.folder(i), attempt->number});
  }
  if (entries.empty()) return std::nullopt;

  // The pack takes threads, template and options from its first job: they are equal in a group.
  auto& job = pack.job;
  job.name = job.key;
  job.group = job.key;
  job.verb = "jobs";
  job.config = "pack";
  job.overrides.clear();
  job.arguments = {write_batch(queue.state_root(), job.key, entries), std::to_string(job.ranks)};
  job.gpus = job.gpus * ranks / job.ranks;
  job.ranks = ranks;
  job.resolution = {};

  // The name is new, so this claim cannot fail. A pack is never retried under the same name: what
  // is left of it is packed again.
  pack.folder = job_folder(queue.state_root(), job.key);
  pack.attempt = attempt_of(job, 1, "", backend);
  pack.attempt.batch = job.key;
  claim(pack.folder, pack.attempt);
  return pack;
}

}  // namespace dissent::jobs
