#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace dissent {

/// Values of one epoch: means over its steps, added in step order, and validation after it.
struct EpochRecord {
  int64_t epoch = 0, steps = 0, skipped = 0;
  double learning_rate = 0;  ///< of its last step
  double total = 0;
  std::vector<double> losses;  ///< mean of each term of the objective, without its weight, over the
                               ///< steps that were not skipped; a term counts as 0 where it is off
  double accuracy_ensemble = 0, accuracy_best = 0, accuracy_mean = 0,
         nll = 0;                 ///< validation; NaN without a validation set
  std::vector<double> gradients;  ///< three per member: norms of the gradients of the base and of
                                  ///< the diversity losses, angle between them; NaN if not probed
};
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Numbers of a record other than those per loss and per member, and gradient values per member.
inline constexpr int64_t kRecordNumbers = 9, kRecordNumbersPerMember = 3;

/// The record as a list of numbers, and back. losses: number of terms of the objective.
std::vector<double> numbers_of(const EpochRecord& record);
/// Records as rows [epochs, numbers] f64; undefined if there is none.
at::Tensor records_tensor(const std::vector<EpochRecord>& records);
EpochRecord record_of(const std::vector<double>& numbers, size_t losses);

/// What a run needs in addition to its configuration.
struct RunContext {
  std::string folder;       ///< <output>/<experiment>/seed-<n>, or beside it with --again
  std::string config_text;  ///< resolved configuration, only keys that change results
  std::string config_hash;
  uint64_t seed = 0;
  bool show_progress = false;
  at::Device device = at::kCPU;  ///< where the members are stored and trained
  int64_t trace = 0;             ///< number of updates in trace.h5 (train/run/trace.hpp); 0: none
  std::function<void()> after_epoch =
      {};  ///< called by the first rank after an epoch is written to train.csv
};

/// train.csv: a header and one line per epoch. Values have their shortest round-trip form; they are
/// empty without a validation set, if every step was skipped, or if no gradient was probed.
/// Columns: epoch, steps, skipped, learning_rate, total, each loss by name, accuracies and nll of
/// the validation set, then for each member gradient_base_<m>, gradient_diversity_<m>,
/// gradient_angle_<m> (degrees).
std::string train_csv(const std::vector<EpochRecord>& records,
                      const std::vector<std::string>& losses);

/// Writes progress.json for `dissent jobs status`: completed epochs, all epochs, steps per epoch.
/// Called by one rank.
void write_progress(const RunContext& context, int64_t epoch, int64_t epochs, int64_t steps);

/// Writes train.csv and progress.json of a run and logs its last epoch. Called by one rank.
void write_epoch_log(const RunContext& context, const std::vector<std::string>& losses,
                     const std::vector<EpochRecord>& records, int64_t epochs);

/// A value as in train.csv: shortest round-trip form, "" for NaN.
std::string csv_number(double value);

}  // namespace dissent
