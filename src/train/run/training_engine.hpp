#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "core/divide_up.hpp"
#include "core/progress_bar.hpp"
#include "train/run/epoch_record.hpp"
#include "train/run/heartbeat.hpp"
#include "train/run/run_checkpoint.hpp"
#include "train/run/run_state.hpp"
#include "train/run/trace.hpp"
#include "train/update/optimizer.hpp"
#include "train/update/schedule.hpp"

namespace dissent {

/// What an engine uses of the trainer while it computes steps.
struct TrainingServices {
  Optimizer& optimizer;
  Schedule& schedule;
  Heartbeat& heartbeat;
  ProgressBar& progress;
  TraceWriter* trace;                ///< nullptr without --trace
  std::function<Request()> request;  ///< what this rank requests now (a stop, a checkpoint)
};

/// The values of an epoch's steps while they come in. A row is filled by one rank, or its columns
/// by the ranks of their members; all others hold zeros, so that sums over ranks are exact.
struct EpochTables {
  at::Tensor steps;   ///< [steps of the epoch, columns] f64
  at::Tensor probes;  ///< [probed steps, A, 3] f64; no elements without probes
};

/// Where an epoch stands after some of its steps.
struct Advance {
  int64_t step = 0;                  ///< completed steps of the epoch
  Request request = Request::kNone;  ///< the largest request that all ranks agreed on
  bool abandoned = false;  ///< all ranks left a step unfinished in order to stop; the step
                           ///< has changed nothing
};

/// A block of the validation set: the logits of this rank's members, and the labels.
struct ValidationBlock {
  at::Tensor logits;  ///< [m, B, C] on the host; undefined without rows
  at::Tensor labels;  ///< [B] i64
};

/// The validation set as blocks of rows.
struct ValidationPlan {
  int64_t rows = 0;
  int64_t block_rows = 1;
  int64_t blocks() const { return divide_up(rows, block_rows); }
  /// Row numbers of a block: consecutive; the last block may be short.
  std::vector<int64_t> rows_of(int64_t block) const {
    const int64_t first = block * block_rows;
    std::vector<int64_t> numbers(std::min(block_rows, rows - first));
    std::iota(numbers.begin(), numbers.end(), first);
    return numbers;
  }
};

/// What a trace file states about an engine.
struct TraceShape {
  const char* kind = "";   ///< "heads" or "images"
  int64_t step_bytes = 0;  ///< tensors of one step, at most
};

/// What differs between trainings on cached features (HeadEngine) and on images (ImageEngine): how
/// a step computes, where its data come from, which tensors a checkpoint holds. EnsembleTrainer
/// runs epochs over it.
///
/// Calls, in this order:  start;  then, per epoch, begin_epoch, advance until all steps are done,
/// add_step for each step, finish_record, validate_block.  start, begin_epoch and advance are
/// collective over the run, validate_block over grid.members; all others are local.
class TrainingEngine {
 public:
  virtual ~TrainingEngine() = default;

  /// Names of the objective's terms, in the order of EpochRecord::losses.
  virtual std::vector<std::string> loss_names() const = 0;
  /// The parameters [n, P] that the optimiser updates.
  virtual at::Tensor parameters() const = 0;
  virtual int64_t steps_per_epoch() const = 0;
  /// Positions per epoch of the learning-rate schedule: steps, or batches where a step has several.
  virtual int64_t schedule_steps() const = 0;
  /// Rows that an epoch trains on, and their name ("rows", "images"): for the progress bar.
  virtual int64_t epoch_rows() const = 0;
  virtual const char* row_name() const = 0;
  /// M, members of the ensemble.
  virtual int64_t members() const = 0;

  /// Makes what computes steps. Called once, before the first epoch and before a checkpoint is
  /// read.
  virtual void start(const TrainingServices& services) = 0;
  /// The tensors of the run, for a checkpoint.
  virtual RunContents contents() = 0;
  /// Weights and buffers by name, and the kind and size of a step, for a trace.
  virtual NamedTensors weights() const = 0;
  virtual TraceShape trace_shape() const = 0;
  /// Files about the run that are written once, before its first epoch. One rank calls it.
  virtual void write_run_files(const std::string& folder) const = 0;

  /// False in epochs that compute losses only (training.frozen_first_epoch).
  virtual bool updates(int64_t epoch) const = 0;
  /// Plans an epoch, of which `step` steps are done already. Returns tables of zeros.
  virtual EpochTables begin_epoch(int64_t epoch, int64_t step) = 0;
  /// Computes at least one step, from `step` on, and writes values into the tables. Returns when a
  /// request was agreed on, at the end of the epoch, or earlier (heads: after a chunk of rows;
  /// images: after each step).
  virtual Advance advance(int64_t step, EpochTables& tables) = 0;

  /// Adds the values of one step (a row of EpochTables::steps, summed over ranks) to the sums in
  /// `record`: skipped, or total and losses.
  virtual void add_step(const at::Tensor& row, EpochRecord& record) const = 0;
  /// Adds what is not a mean over steps: the gradient probes.
  virtual void finish_record(const EpochTables& tables, EpochRecord& record) const = 0;
  /// Learning rate of the epoch's last step.
  virtual double last_learning_rate() const = 0;

  /// Nothing without a validation set.
  virtual std::optional<ValidationPlan> validation() const = 0;
  /// Forward passes of this rank's members on a block. Blocks come in the order
  /// data_part, data_part + data ranks, ...; `next` is the following one, which may be read ahead
  /// (nothing after the last). Collective over grid.members.
  virtual ValidationBlock validate_block(int64_t block, std::optional<int64_t> next) = 0;

  /// Called after the last epoch: warnings about the whole run.
  virtual void finish() = 0;
};

}  // namespace dissent
