#pragma once
#include <any>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "core/options.hpp"
#include "ensemble/objective.hpp"
#include "train/update/optimizer.hpp"
#include "train/update/schedule.hpp"

namespace dissent {

/// Keys outside any table.
struct ExperimentOptions {
  std::string experiment = "experiment";
  std::vector<int64_t> seeds{42};
  std::string output = "results";
  std::string origin = "unknown";
};

/// [data] of training on a feature cache.
struct CacheDataOptions {
  std::string kind = "cache";
  std::string train;
  std::string validation;
  std::string unlabelled;
  std::string subset;
  bool subset_complement = false;
  std::string residency = "auto";
  int64_t chunk_rows = 0;
  double memory_gib = 8;
  int64_t batch_size = 32;
};

/// [ensemble]
struct EnsembleOptions {
  int64_t members = 5;
  std::optional<int64_t> active;
  std::string selection = "random";
  std::string model = "block_head";
  std::optional<int64_t> hidden;
};

/// [loss.<name>] of one loss of the registry.
struct LossTable {
  bool present = false;
  losses::LossWeight weight;
  std::any options;  ///< the struct of the loss
};
/// [disagreement]: where members repel each other.
struct DisagreementOptions {
  std::string on = "labelled";
  std::optional<double> below_threshold;
};

/// [training]
struct TrainingOptions {
  int64_t epochs = 1;
  bool frozen_first_epoch = false;
  std::string on_nan = "error";
  double clip_norm = 0;
  int64_t look_ahead = 64;
  int64_t gradient_samples = 4;
  std::string precision = "f32";
};

/// [checkpoint]
struct CheckpointOptions {
  double every_minutes = 10;
};

/// [runtime]
struct RuntimeOptions {
  std::string device = "auto";
  std::optional<int64_t> threads;
  double timeout_s = 600;
  bool deterministic = false;
  // Of trainings alone.
  std::string wandb = "auto";
  std::string wandb_project, wandb_entity;
  double wandb_finish_s = 30;
  bool tensorboard = false;
};

/// No loss present, each with its default options.
std::vector<LossTable> default_losses();

/// Everything that `dissent train CONFIG` is told.
struct TrainConfig {
  ExperimentOptions experiment;
  GridOptions grid;
  CacheDataOptions data;
  EnsembleOptions ensemble;
  std::vector<LossTable> losses = default_losses();  ///< in the order of losses::loss_table()
  DisagreementOptions disagreement;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  TrainingOptions training;
  CheckpointOptions checkpoint;
  RuntimeOptions runtime;

  int64_t active_members() const {
    return ensemble.selection == "round_robin" ? 1 : ensemble.active.value_or(ensemble.members);
  }
};

const TableSpec& experiment_table();
const TableSpec& cache_data_table();
const TableSpec& ensemble_table();
/// One a loss, in the order of losses::loss_table(); bound to LossTable.
const std::vector<TableSpec>& loss_option_tables();
const TableSpec& disagreement_table();
const TableSpec& training_table();
const TableSpec& checkpoint_table();
const TableSpec& runtime_table();
/// The same with what a training tells others while it runs (docs/logging.md).
const TableSpec& train_runtime_table();

/// A combination of keys that does not go together.
struct Conflict {
  std::string key;  ///< "ensemble.active"
  std::string message;
};
/// All of them, in the order of the tables.
std::vector<Conflict> conflicts(const TrainConfig& config);
/// Those of the experiment alone: no seed, a seed named twice, a name that leads out of `output`.
std::vector<Conflict> experiment_conflicts(const ExperimentOptions& experiment);

/// What is wrong with training.precision = "f64" on a GPU.
inline constexpr const char* kF64OnGpu =
    "\"f64\" is computed on CPUs only: it cannot go with a GPU (runtime.device = \"cpu\")";
/// What is wrong with training.precision = "tf32" on a CPU.
inline constexpr const char* kTf32OnCpu =
    "\"tf32\" needs a GPU: it cannot go with runtime.device = \"cpu\"";
/// The dtype of parameters, optimiser state and losses at a training.precision: f64, else f32.
at::ScalarType parameter_type(const std::string& precision);

/// The objective that the loss tables describe.
ObjectiveOptions objective_options(const TrainConfig& config);

}  // namespace dissent
