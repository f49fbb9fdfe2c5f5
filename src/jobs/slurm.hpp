#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dissent::jobs {

/// A job as Slurm sees it.
struct SlurmJob {
  std::string id;      ///< "123" or "123_4"
  std::string state;   ///< "PENDING", "RUNNING", "COMPLETING", "CANCELLED", "NODE_FAIL", ...
  std::string reason;  ///< why it waits
  std::string name;
  std::string comment;  ///< of the batch, which finds it again; "" where Slurm does not say
  /// It is in the queue or runs, and so will go on by itself.
  bool lives() const;
};

/// What Slurm says of this user's jobs, asked once and kept.
class Slurm {
 public:
  /// False if there is no squeue on this machine.
  bool there();
  /// The controller answered. If it did not, nothing may be concluded from a job that is not in its
  /// list.
  bool answers();
  /// The job of this number: from squeue, else from sacct where there is accounting; nothing if
  /// neither knows it. time_s: when it was submitted, at the earliest: a list of jobs that is older
  /// is asked for again before a job is said to be missing.
  std::optional<SlurmJob> find(const std::string& id, double time_s = 0);
  /// The job of this batch, and of this index in its array (-1: none), by squeue.
  std::optional<SlurmJob> find_by_batch(const std::string& batch, int64_t index, double time_s = 0);
  /// Asks again at the next question.
  void forget() { asked_ = false, jobs_.clear(), accounts_.clear(); }
  /// Why the controller did not answer.
  const std::string& problem() const { return problem_; }

 private:
  void ask();
  void renew(double time_s);
  double asked_s_ = 0;
  bool asked_ = false, there_ = false, answers_ = false;
  std::string problem_;
  std::map<std::string, SlurmJob> jobs_;
  std::map<std::string, std::optional<SlurmJob>> accounts_;
};

/// How many tasks an array may have: MaxArraySize of `scontrol show config`, else Slurm's own
/// default, 1001.
int64_t max_array_size();

/// Hands a script to sbatch through slurm/submit, which adds what site.sh says; returns the job's
/// number. Error::kData with sbatch's own message if it refuses.
std::string sbatch(const std::string& submit, const std::vector<std::string>& options,
                   const std::string& script, const std::vector<std::string>& arguments);

}  // namespace dissent::jobs
