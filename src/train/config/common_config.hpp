#pragma once
#include <ATen/core/ScalarType.h>

#include <any>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/device.hpp"
#include "comm/grid.hpp"
#include "config/schema.hpp"
#include "core/device_math.hpp"
#include "core/option_table.hpp"
#include "core/wandb_mode.hpp"
#include "losses/weighted_sum.hpp"
#include "train/update/optimizer.hpp"
#include "train/update/schedule.hpp"

// The tables of a configuration of `dissent train` that do not depend on the kind of data.
// head_config.hpp and image_config.hpp add those that do.
namespace dissent {

/// Keys outside any table.
struct ExperimentOptions {
  std::string experiment = "experiment";
  std::vector<int64_t> seeds{42};
  std::string output = "results";
  std::string origin = "unknown";
};
const TableSpec& experiment_table();

/// [loss.<name>] of one loss of the registry.
struct LossTable {
  bool present = false;
  losses::LossWeight weight;
  std::any options;  ///< the struct of the loss
};
/// No loss present, each with its default options, in the order of losses::loss_table().
std::vector<LossTable> default_losses();
/// One table per loss, in the order of losses::loss_table(); bound to LossTable.
const std::vector<TableSpec>& loss_option_tables();
/// The losses that are present, as terms of an objective.
std::vector<losses::LossTerm> loss_terms(const std::vector<LossTable>& tables);

/// training.on_nan
enum class OnNan { kError, kSkipStep };
const Names<OnNan>& on_nan_names();

/// training.precision
using Precision = ComputePrecision;
/// These precisions and their names, for an option.
Names<Precision> named_precisions(const std::vector<Precision>& precisions);
/// The dtype of parameters, optimiser state and losses: f64, else f32.
at::ScalarType parameter_type(Precision precision);
/// The dtype of matrix products and convolutions: bf16 and f16 through autocast, else f32.
at::ScalarType product_type(Precision precision);

/// [checkpoint]
struct CheckpointOptions {
  double every_minutes = 10;
};
const TableSpec& checkpoint_table();

/// [runtime]
struct RuntimeOptions {
  DeviceChoice device = DeviceChoice::kAuto;
  std::optional<int64_t> threads;
  double timeout_s = 600;
  bool deterministic = false;
  // Only in trainings.
  WandbMode wandb = WandbMode::kAuto;
  std::string wandb_project, wandb_entity;
  double wandb_finish_s = 30;
  bool tensorboard = false;
};
const TableSpec& runtime_table();
/// The same plus live logging, which only a training has (docs/logging.md).
const TableSpec& train_runtime_table();

/// The tables that every training has.
struct CommonTrainConfig {
  ExperimentOptions experiment;
  GridOptions grid;
  std::vector<LossTable> losses = default_losses();
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  CheckpointOptions checkpoint;
  RuntimeOptions runtime;
};
/// Adds the tables of all losses, each optional.
void add_loss_tables(config::Schema& schema, std::vector<LossTable>& losses);

/// Values of several keys that contradict each other.
struct Conflict {
  std::string key;  ///< "ensemble.active"
  std::string message;
};
/// Collects conflicts: add(condition, key, message).
class Conflicts {
 public:
  void add(bool wrong, const std::string& key, std::string message) {
    if (wrong) found_.push_back({key, std::move(message)});
  }
  const std::vector<Conflict>& found() const { return found_; }

 private:
  std::vector<Conflict> found_;
};
/// Conflicts of the tables that every training has: no seed, a seed named twice, a name that leads
/// out of `output`, Nesterov momentum without momentum, a precision that the device does not have,
/// a warm-up longer than a plateau schedule's training.
void add_common_conflicts(const CommonTrainConfig& config, Precision precision, int64_t epochs,
                          Conflicts& conflicts);

/// Messages for a precision that the device does not have.
std::string needs_gpu_text(Precision precision);
inline constexpr const char* kF64OnGpu =
    "\"f64\" is computed on CPUs only: expected runtime.device = \"cpu\", found a GPU";

}  // namespace dissent
