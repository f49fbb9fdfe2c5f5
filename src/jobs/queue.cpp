#include "jobs/queue.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
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

std::optional<Attempt> Queue::next_attempt(size_t i, const std::string& backend,
                                           const std::string& batch, int64_t index) const {
  const auto& job = jobs_[i];
  const auto& state = statuses_[i].state;
  const bool open = state.number > 0 && !state.end() && !state.abandoned();
  if (open && !state.begun() && !abandon(folder(i), state.number)) return std::nullopt;
  if (open && state.begun()) {
    const auto restart = static_cast<int64_t>(std::max(state.starts.size(), state.stops.size()));
    const bool free = state.stops.size() < state.starts.size() || state.starts.empty();
    put_stop(folder(i), state.number, free ? std::max<int64_t>(0, restart - 1) : restart,
             {.code = 4,
              .reason = "lost",
              .message = statuses_[i].detail,
              .wall_s = state.wall_without_end_s(),
              .time = now_s(),
              .is_final = true});
    if (!read_state(folder(i)).end()) return std::nullopt;
  }
  const auto end = state.end();
  const bool kept = state.attempt && state.attempt->again && !(end && end->reason == "done");
  auto attempt = attempt_of(job, state.number + 1, sheet_, backend, kept || statuses_[i].again);
  attempt.batch = batch;
  attempt.index = index;
  // What is asked for again is another result.
  if (!(end && end->reason == "done") && !statuses_[i].again)
    attempt.wall_before_s = state.wall_s();
  return claim(folder(i), attempt) ? std::optional(attempt) : std::nullopt;
}

void Queue::give_up(const Attempt& attempt, const std::string& message) const {
  const auto path = job_folder(state_root_, attempt.key);
  abandon(path, attempt.number);
  put_stop(path, attempt.number, 0,
           {.code = 3,
            .reason = "failed",
            .message = message,
            .wall_s = 0,
            .time = now_s(),
            .is_final = true});
}

std::string batch_name(const std::vector<std::string>& keys) {
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
    if ((job.verb != "train" && job.verb != "evaluate") || ranks % job.ranks != 0 ||
        job.ranks == ranks)
      continue;
    std::set<std::string> unmet;
    for (const size_t other : queue.unmet(i)) unmet.insert(queue.job(other).key);
    groups[fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", job.ranks, job.threads, job.gpus,
                       job.template_name, job.stage, fmt::join(job.slurm, "\n"),
                       fmt::join(unmet, " "))]
        .push_back(i);
  }
  std::vector<std::vector<size_t>> out;
  for (auto& [key, group] : groups)
    if (group.size() > 1) out.push_back(std::move(group));
  return out;
}

std::optional<Pack> make_pack(const Queue& queue, const std::vector<size_t>& group, int64_t ranks,
                              const std::string& backend) {
  std::vector<std::string> keys;
  for (const size_t i : group) keys.push_back(queue.job(i).key);
  Pack pack;
  pack.job = queue.job(group[0]);
  pack.job.key = "pack" + batch_name(keys).substr(7);
  std::vector<BatchEntry> entries;
  for (const size_t i : group)
    if (const auto attempt =
            queue.next_attempt(i, "pack", pack.job.key, static_cast<int64_t>(entries.size())))
      entries.push_back({queue.folder(i), attempt->number});
  if (entries.empty()) return std::nullopt;
  pack.job.name = pack.job.group = pack.job.key;
  pack.job.verb = "jobs", pack.job.config = "pack", pack.job.overrides.clear();
  pack.job.arguments = {write_batch(queue.state_root(), pack.job.key, entries),
                        std::to_string(pack.job.ranks)};
  pack.job.gpus = pack.job.gpus * ranks / pack.job.ranks;
  pack.job.ranks = ranks;
  pack.job.resolution = {};
  pack.folder = job_folder(queue.state_root(), pack.job.key);
  pack.attempt = attempt_of(pack.job, 1, "", backend);
  pack.attempt.batch = pack.job.key;
  claim(pack.folder, pack.attempt);
  return pack;
}

}  // namespace dissent::jobs
