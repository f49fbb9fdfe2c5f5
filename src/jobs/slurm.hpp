#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dissent::jobs {

/// A job as Slurm reports it.
struct SlurmJob {
  std::string id;      ///< "123" or "123_4"
  std::string state;   ///< "PENDING", "RUNNING", "COMPLETING", "CANCELLED", "NODE_FAIL", ...
  std::string reason;  ///< why it is pending
  std::string name;
  std::string comment;  ///< name of its batch; "" where Slurm does not report it
  /// It is queued or running: it must not be submitted again.
  bool is_active() const;
  /// Its ranks run, or have just ended.
  bool is_running() const;
  /// It was ended by a user or by a deadline.
  bool is_cancelled() const;
};

/// What Slurm reports about this user's jobs: queried once and kept.
class Slurm {
 public:
  /// False if this machine has no squeue.
  bool exists();
  /// The controller answered. If it did not, a job that is not in the list may still exist.
  bool answers();
  /// The job with this id: from squeue, else from sacct where accounting is configured; nothing if
  /// neither knows it. time_s: the earliest time of its submission: an older list of jobs is
  /// queried again before a job counts as missing.
  std::optional<SlurmJob> find(const std::string& id, double time_s = 0);
  /// The job of this batch, with this index in its array (-1: no array), from squeue.
  std::optional<SlurmJob> find_by_batch(const std::string& batch, int64_t index, double time_s = 0);
  /// Queries again at the next call.
  void forget() { asked_ = false, jobs_.clear(), accounts_.clear(); }
  /// Why the controller did not answer.
  const std::string& problem() const { return problem_; }

 private:
  void ask();
  void renew(double time_s);
  double asked_s_ = 0;
  bool asked_ = false, exists_ = false, answers_ = false;
  std::string problem_;
  std::map<std::string, SlurmJob> jobs_;
  std::map<std::string, std::optional<SlurmJob>> accounts_;
};

/// Largest number of tasks in an array: MaxArraySize of `scontrol show config`, else Slurm's
/// default, 1001.
int64_t max_array_size();

/// Submits a script with sbatch through slurm/submit, which adds the settings of site.sh; returns
/// the job id. Error::kData with sbatch's own message if it refuses.
std::string sbatch(const std::string& submit, const std::vector<std::string>& options,
                   const std::string& script, const std::vector<std::string>& arguments);

}  // namespace dissent::jobs
