#include "train/run/epoch_record.hpp"

#include <cmath>
#include <cstddef>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "storage/atomic_file.hpp"
#include "storage/run_folder.hpp"
#include "storage/train_log.hpp"

namespace dissent {

std::string csv_number(double value) { return std::isnan(value) ? "" : fmt::format("{}", value); }

std::vector<double> numbers_of(const EpochRecord& record) {
  std::vector<double> numbers;
  numbers.reserve(kRecordNumbers + record.losses.size() + record.gradients.size());

  // The order is that of the columns of train.csv, and of progress/epochs in a checkpoint.
  numbers.insert(numbers.end(),
                 {static_cast<double>(record.epoch), static_cast<double>(record.steps),
                  static_cast<double>(record.skipped), record.learning_rate, record.total});
  numbers.insert(numbers.end(), record.losses.begin(), record.losses.end());
  numbers.insert(numbers.end(), {record.accuracy_ensemble, record.accuracy_best,
                                 record.accuracy_mean, record.nll});
  numbers.insert(numbers.end(), record.gradients.begin(), record.gradients.end());
  return numbers;
}

at::Tensor records_tensor(const std::vector<EpochRecord>& records) {
  std::vector<at::Tensor> rows;
  for (const auto& record : records) rows.push_back(at::tensor(numbers_of(record), at::kDouble));
  return rows.empty() ? at::Tensor() : at::stack(rows);
}

EpochRecord record_of(const std::vector<double>& numbers, size_t losses) {
  // The order of numbers_of(): five numbers, the losses, four numbers, the gradients.
  const auto after = numbers.begin() + 5 + static_cast<std::ptrdiff_t>(losses);
  return {.epoch = static_cast<int64_t>(numbers[0]),
          .steps = static_cast<int64_t>(numbers[1]),
          .skipped = static_cast<int64_t>(numbers[2]),
          .learning_rate = numbers[3],
          .total = numbers[4],
          .losses = {numbers.begin() + 5, after},
          .accuracy_ensemble = after[0],
          .accuracy_best = after[1],
          .accuracy_mean = after[2],
          .nll = after[3],
          .gradients = {after + 4, numbers.end()}};
}

std::string train_csv(const std::vector<EpochRecord>& records,
                      const std::vector<std::string>& losses) {
  // Header. Every record has the columns of the first one.
  std::vector<std::string> names{kEpochColumn, kStepsColumn, kSkippedColumn, kLearningRateColumn,
                                 kTotalColumn};
  names.insert(names.end(), losses.begin(), losses.end());
  names.insert(names.end(),
               {kAccuracyEnsembleColumn, kAccuracyBestColumn, kAccuracyMeanColumn, kNllColumn});
  const size_t members = records.empty() ? 0 : records[0].gradients.size() / 3;
  for (size_t m = 0; m < members; ++m)
    for (const char* value : {"base", "diversity", "angle"})
      names.push_back(fmt::format("{}{}_{}", kGradientPrefix, value, m));
  std::string text = fmt::format("{}\n", fmt::join(names, ","));

  for (const auto& record : records) {
    std::vector<std::string> fields;
    for (const double number : numbers_of(record)) fields.push_back(csv_number(number));
    text += fmt::format("{}\n", fmt::join(fields, ","));
  }
  return text;
}

void write_progress(const RunContext& context, int64_t epoch, int64_t epochs, int64_t steps) {
  atomic_write_text(
      context.folder + "/" + kProgressFile,
      fmt::format("{{\"epoch\": {}, \"epochs\": {}, \"steps\": {}}}\n", epoch, epochs, steps));
}

void write_epoch_log(const RunContext& context, const std::vector<std::string>& losses,
                     const std::vector<EpochRecord>& records, int64_t epochs) {
  const auto& last = records.back();
  atomic_write_text(context.folder + "/" + kTrainLogFile, train_csv(records, losses));
  write_progress(context, last.epoch + 1, epochs, last.steps);

  std::string values;
  for (size_t i = 0; i < losses.size(); ++i)
    values += fmt::format(" {}={:.6g}", losses[i], last.losses[i]);
  spdlog::info("event=epoch seed={} epoch={} steps={} skipped={} total={:.6g}{} accuracy={}",
               context.seed, last.epoch, last.steps, last.skipped, last.total, values,
               csv_number(last.accuracy_ensemble));

  // Live logging comes last: it reads the files that have just been written.
  if (context.after_epoch) context.after_epoch();
}

}  // namespace dissent
