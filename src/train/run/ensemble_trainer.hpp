#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "comm/grid.hpp"
#include "train/run/training_engine.hpp"

namespace dissent {

/// What the trainer takes of a configuration, whatever is trained.
struct TrainerOptions {
  int64_t epochs = 1;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  double checkpoint_minutes = 10;  ///< between checkpoints inside a training
};

/// Trains one ensemble on the ranks of grid.run: epochs of an engine's steps, validation after
/// each, checkpoints, stopping and resuming, the log, and heartbeats.
///
/// Writes train.csv, progress.json, heartbeat.<rank>, checkpoint.h5 and, with a validation set,
/// best.h5 (highest validation accuracy of the ensemble, the later of equal ones) into the run's
/// folder. The results have the same bits for every number of member parts and threads, interrupted
/// or not.
class EnsembleTrainer {
 public:
  /// engine and grid have to outlive this object. Error::kData if a trace is requested and its file
  /// cannot be written. Not collective.
  EnsembleTrainer(TrainerOptions options, TrainingEngine& engine, Grid& grid, RunContext context);
  ~EnsembleTrainer();
  EnsembleTrainer(const EnsembleTrainer&) = delete;
  EnsembleTrainer& operator=(const EnsembleTrainer&) = delete;

  /// resume: continue from <folder>/checkpoint.h5. False if a stop was requested (core/stop.hpp): a
  /// checkpoint was written then. Collective over the run.
  bool train(bool resume);

 private:
  void read_checkpoint();
  void write_start_files();
  bool run_epochs();
  bool run_epoch();
  void restore_tables();
  void write_checkpoint_inside_epoch();
  bool finish_epoch();
  EpochRecord sum_steps() const;
  void write_log() const;
  void write_checkpoint(const std::string& name);
  Request own_request() const;

  TrainerOptions options_;
  TrainingEngine& engine_;
  Grid& grid_;
  RunContext context_;
  Optimizer optimizer_;
  Schedule schedule_;
  ProgressBar progress_;
  Heartbeat heartbeat_;
  std::unique_ptr<TraceWriter> trace_;
  RunState state_;
  EpochTables tables_;  ///< of the current epoch
  std::chrono::steady_clock::time_point last_checkpoint_;
};

}  // namespace dissent
