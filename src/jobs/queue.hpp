#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "jobs/status.hpp"

namespace dissent::jobs {

/// The jobs of a sheet with their states; `run` and `submit` base their decisions on it.
class Queue {
 public:
  /// jobs: all jobs of the sheet; picked: those that may be started (--where).
  Queue(std::vector<Job> jobs, const std::vector<Job>& picked, std::string sheet,
        std::string state_root);

  /// Reads the state of every job again; queries Slurm again too if `ask_slurm`.
  void refresh(bool ask_slurm);
  /// Number of jobs; i below is an index of them, in the order of the sheet.
  size_t size() const { return jobs_.size(); }
  const Job& job(size_t i) const { return jobs_[i]; }
  const Status& status(size_t i) const { return statuses_[i]; }
  const std::vector<Job>& jobs() const { return jobs_; }
  const std::vector<Status>& statuses() const { return statuses_; }
  const std::string& state_root() const { return state_root_; }
  const std::string& sheet() const { return sheet_; }
  /// Whether the job may be started: it is enabled and meets --where.
  bool is_picked(size_t i) const { return picked_[i]; }
  std::string folder(size_t i) const { return job_folder(state_root_, jobs_[i].key); }
  size_t index_of(const std::string& key) const { return by_key_.at(key); }
  /// Notes why jobs will not start because of others (jobs::note_not_started).
  void note_not_started() { jobs::note_not_started(jobs_, jobs_, statuses_, state_root_, slurm_); }
  /// Indices of the jobs that job i waits for and that are not done.
  std::vector<size_t> unmet(size_t i) const;

  /// Creates the next attempt of a job that may start: ends a lost attempt, then claims the next.
  /// Nothing if another submitter came first, or the job has begun after all. batch, index: those
  /// of the Slurm job or pack that will run it.
  std::optional<Attempt> next_attempt(size_t i, Backend backend, const std::string& batch,
                                      int64_t index) const;
  /// Records that the claimed attempt will not be run, and why.
  void give_up(const Attempt& attempt, const std::string& message) const;

 private:
  std::vector<Job> jobs_;
  std::vector<Status> statuses_;
  std::vector<bool> picked_;
  std::map<std::string, size_t> by_key_;
  std::string sheet_, state_root_;
  Slurm slurm_;
};

/// "dissent-" and 16 hexadecimal digits that no other batch has: a hash of keys, time and process.
std::string batch_name(const std::vector<std::string>& keys);

/// An attempt of a batch: the folder of its job and its number.
struct BatchEntry {
  std::string folder;
  int64_t number = 0;
};
/// Writes the attempts of a batch, in the order of the array, to <state>/batches/<batch>.json and
/// returns that path. The batch script of task i runs entry i.
std::string write_batch(const std::string& state_root, const std::string& batch,
                        const std::vector<BatchEntry>& entries);
/// Reads such a file. Error::kData if it is missing or not a list of attempts.
std::vector<BatchEntry> read_batch(const std::string& path);

/// Groups of at least two jobs that can run side by side in one MPI job: trainings or evaluations
/// with equal `ranks`, threads, options and `after`. Groups hold indices; ranks: those of the MPI
/// job, a multiple of each job's.
std::vector<std::vector<size_t>> pack_groups(const Queue& queue, const std::vector<size_t>& ready,
                                             int64_t ranks);
/// A pack of claimed attempts as one job: `dissent jobs pack LIST` on `ranks` ranks, with its own
/// claimed attempt. Nothing if no attempt could be claimed.
struct Pack {
  Job job;
  Attempt attempt;
  std::string folder;
};
/// Claims the attempts of a group and makes the pack that runs them. group: indices of the queue's
/// jobs (pack_groups); ranks: of the MPI job; backend: what runs the pack itself. Error::kData if
/// the state files cannot be written.
std::optional<Pack> make_pack(const Queue& queue, const std::vector<size_t>& group, int64_t ranks,
                              Backend backend);

}  // namespace dissent::jobs
