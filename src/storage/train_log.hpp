#pragma once
#include <string>

// Columns of train.csv, the log of a training (docs/formats.md): written by train/run/epoch_record,
// read by tables, plots, event files and the live log. Between total and the accuracies there is a
// column per loss, named after it.
namespace dissent {

inline constexpr const char* kEpochColumn = "epoch";  ///< the first column: it marks such a file
inline constexpr const char* kStepsColumn = "steps";
inline constexpr const char* kSkippedColumn = "skipped";
inline constexpr const char* kLearningRateColumn = "learning_rate";
inline constexpr const char* kTotalColumn = "total";

// Values on the validation set.
inline constexpr const char* kAccuracyPrefix = "accuracy_";
inline constexpr const char* kAccuracyEnsembleColumn = "accuracy_ensemble";
inline constexpr const char* kAccuracyBestColumn = "accuracy_best";
inline constexpr const char* kAccuracyMeanColumn = "accuracy_mean";
inline constexpr const char* kNllColumn = "nll";

// Gradient probes, three columns per member: <prefix>base_<m>, diversity_<m>, angle_<m>.
inline constexpr const char* kGradientPrefix = "gradient_";

/// True for a column of the validation set.
inline bool is_validation_column(const std::string& column) {
  return column.starts_with(kAccuracyPrefix) || column == kNllColumn;
}

}  // namespace dissent
