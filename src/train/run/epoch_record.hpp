#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace dissent {

/// Figures of one epoch: means over its steps in step order; validation after it.
struct EpochRecord {
  int64_t epoch = 0, steps = 0, skipped = 0;
  double learning_rate = 0;  ///< of its last step
  double total = 0;
  std::vector<double> losses;  ///< of the objective's terms, without their weights
  double accuracy_ensemble = 0, accuracy_best = 0, accuracy_mean = 0,
         nll = 0;                 ///< validation; NaN without
  std::vector<double> gradients;  ///< of each member three: norm of the base losses' gradient, of
                                  ///< the others', angle between them; NaN where not looked at
};
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Numbers of a record besides those per loss and per member, and gradient values per member.
inline constexpr int64_t kRecordNumbers = 9, kRecordNumbersPerMember = 3;

/// The record as numbers, and back; losses: number of the objective's terms.
std::vector<double> numbers_of(const EpochRecord& record);
/// Records as rows [epochs, numbers] f64; undefined without any.
at::Tensor records_tensor(const std::vector<EpochRecord>& records);
EpochRecord record_of(const std::vector<double>& numbers, size_t losses);

/// What the program is told of a run beside its configuration.
struct RunContext {
  std::string folder;       ///< <output>/<experiment>/<run>
  std::string config_text;  ///< resolved configuration, result keys only
  std::string config_hash;
  uint64_t seed = 0;
  bool show_progress = false;
  at::Device device = at::kCPU;  ///< where the members live and learn
  int64_t trace = 0;             ///< updates to write into trace.h5 (train/run/trace.hpp); 0: none
  std::function<void()> after_epoch =
      {};  ///< called by the first rank once an epoch is in train.csv
};

/// train.csv: a header and a line an epoch; values in shortest round-trip form, empty where there
/// is no validation set, every step was skipped, or no gradient was looked at. Columns: epoch,
/// steps, skipped, learning_rate, total, one a loss by name, accuracies and nll of the validation
/// set, then for each member gradient_base_<m>, gradient_diversity_<m>, gradient_angle_<m>
/// (degrees).
std::string train_csv(const std::vector<EpochRecord>& records,
                      const std::vector<std::string>& losses);

/// Writes progress.json, what `dissent jobs status` reads: epochs done, of so many, and steps of
/// one. One rank calls it.
void write_progress(const RunContext& context, int64_t epoch, int64_t epochs, int64_t steps);

/// Writes train.csv and progress.json of a run and logs its last epoch. One rank calls it.
void write_epoch_log(const RunContext& context, const std::vector<std::string>& losses,
                     const std::vector<EpochRecord>& records, int64_t epochs);

/// One value as train.csv has it: shortest round-trip form, "" for NaN.
std::string csv_number(double value);

}  // namespace dissent
