#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "storage/residency.hpp"
#include "train/options.hpp"
#include "train/plan.hpp"

namespace dissent {

/// The rows that training needs, in the node's memory; loaded once for all runs.
struct TrainData {
  HostResidency train;
  std::optional<HostResidency> validation;
  std::optional<HostResidency> unlabelled;
  int64_t dim = 0;
  int64_t classes = 0;
  std::vector<std::string> checksums;  ///< "path: checksum of its manifest", for the provenance
  /// Frees the shared memory. Collective over the node.
  void close();
};

/// Opens, checks (rows, dimensions, labels, finite values) and loads what [data] names. Error::kData, the same on every rank. Collective over world and node.
TrainData load_train_data(Communicator& world, Communicator& node, const CacheDataOptions& options);

/// Figures of one epoch: means over its steps in step order; validation after it.
struct EpochRecord {
  int64_t epoch = 0, steps = 0, skipped = 0;
  double learning_rate = 0;  ///< of its last step
  double total = 0, cross_entropy = 0, repulsion = 0, regulariser = 0;
  double accuracy_ensemble = 0, accuracy_best = 0, accuracy_mean = 0, nll = 0;  ///< validation; NaN without
};

/// What the program is told of a run beside its configuration.
struct RunContext {
  std::string folder;       ///< <output>/<experiment>/<run>
  std::string config_text;  ///< resolved configuration
  std::string config_hash;
  uint64_t seed = 0;
  bool show_progress = false;
};

/// Trains one ensemble of heads on the ranks of grid.run. Writes checkpoint.h5, train.csv, progress.json into the folder.
/// The results have the same bits for every number of member parts, threads and look-ahead.
class HeadTrainer {
 public:
  HeadTrainer(const TrainConfig& config, TrainData& data, Grid& grid, RunContext context);
  /// Collective over the run.
  void train();

 private:
  void run_epoch(int64_t epoch, class Stepper& stepper, class Schedule& schedule, class ProgressBar& progress, EpochRecord& record);
  void load_batch(const Step& step, int64_t pass, struct StepInput& input) const;
  void summarise(const at::Tensor& table, EpochRecord& record) const;
  void validate(EpochRecord& record);
  void write_checkpoint(const class Optimizer& optimizer, const class Schedule& schedule, int64_t next_epoch);
  void write_log() const;

  const TrainConfig& config_;
  TrainData& data_;
  Grid& grid_;
  RunContext context_;
  PlanOptions plan_;
  MemberStack members_;
  std::vector<EpochRecord> records_;
};

/// train.csv: a header and a line an epoch; values in shortest round-trip form, empty where there is no validation set.
std::string train_csv(const std::vector<EpochRecord>& records);

}  // namespace dissent
