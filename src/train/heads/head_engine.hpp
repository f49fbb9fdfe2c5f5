#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "storage/residency.hpp"
#include "train/run/epoch_record.hpp"
#include "train/config/options.hpp"
#include "train/heads/head_plan.hpp"
#include "train/run/trace.hpp"
#include "train/heads/train_rows.hpp"
#include "train/heads/wave_stepper.hpp"

namespace dissent {

/// The rows that training needs, in the node's memory; loaded once for all runs.
struct HeadData {
  TrainRows train;
  std::optional<HostResidency> validation;
  std::optional<HostResidency> unlabelled;
  int64_t dim = 0;
  int64_t classes = 0;
  std::string identity;  ///< "train 60000x784 9c21..., unlabelled ...": what the caches hold,
                         ///< wherever they lie
  /// Frees the shared memory. Collective over the node.
  void close();
};

/// Opens what [data] names and checks it, but for the features themselves: rows, dimensions,
/// labels, networks, the subset. Error::kData. Not collective.
void check_head_data(const CacheDataOptions& options);

/// Opens, checks (rows, dimensions, labels, finite values) and loads what [data] names.
/// Error::kData, the same on every rank. Collective over world and node. run_node: the ranks of
/// this node that train one run together (grid.run->split_by_node()): they go through the chunks of
/// residency stream together.
HeadData load_head_data(Communicator& world, Communicator& node, Communicator& run_node,
                          const CacheDataOptions& options, at::Device device = at::kCPU);

/// Where a run stands between two steps.
struct RunState {
  int64_t epoch = 0;                 ///< epochs done
  int64_t step = 0;                  ///< steps done of the epoch under way
  std::vector<EpochRecord> records;  ///< of the epochs done
  at::Tensor steps;   ///< [step, columns] f64: figures of the steps done of the epoch under way
  at::Tensor probes;  ///< [probed steps, A, 3] f64: gradients looked at in it, 0 for steps to come
  double best_accuracy = -1;  ///< of the ensemble on the validation set, so far
  int64_t losses = 0;         ///< terms of the objective
};

/// Trains one ensemble of heads on the ranks of grid.run. Writes train.csv, progress.json,
/// heartbeat.<rank>, checkpoint.h5 and, with a validation set, best.h5 (highest accuracy of the
/// ensemble, of equal ones the later) into the folder; goes on from a checkpoint.h5 that is there.
/// The results have the same bits for every number of member parts, threads and look-ahead,
/// interrupted or not.
class HeadTrainer {
 public:
  HeadTrainer(const TrainConfig& config, HeadData& data, Grid& grid, RunContext context);
  ~HeadTrainer();
  /// False if a stop was requested (core/stop.hpp): a checkpoint is written then. Collective over
  /// the run.
  bool train(bool resume);

 private:
  bool run_epoch();
  void run_steps(const std::vector<Step>& steps, int64_t pass, int64_t end, Request& pending);
  bool update_members() const {
    return !(config_.training.frozen_first_epoch && state_.epoch == 0);
  }
  int64_t updating_epoch() const;
  Request own_request() const;
  void record(int64_t step, const std::vector<int64_t>& active, const StepResult& result,
              int64_t rows_done);
  void load_batch(const Step& step, int64_t pass, StepInput& input) const;
  void probe(const std::vector<StepInput>& inputs);
  void gather_tables(at::Tensor& steps, at::Tensor& probes);
  void finish_epoch(const std::vector<Step>& steps);
  void validate(EpochRecord& record);
  at::Tensor member_logits(const at::Tensor& rows) const;
  void raise_failure();
  void write_checkpoint(const std::string& name);
  void write_log();
  NamedTensors weights() const;
  void start_trace();
  void trace(const StepInput& input, const StepResult& result);

  const TrainConfig& config_;
  HeadData& data_;
  Grid& grid_;
  RunContext context_;
  PlanOptions plan_;
  MemberStack members_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<WaveStepper> stepper_;
  std::unique_ptr<class Heartbeat> heartbeat_;
  std::unique_ptr<class ProgressBar> progress_;
  std::unique_ptr<TraceWriter> trace_;
  RunState state_;
  ObjectiveOptions objective_;
  at::Tensor table_;  ///< [steps of the epoch, columns] f64: this rank's rows, zeros elsewhere
  std::vector<int64_t> probed_;  ///< steps of the epoch in which gradients are looked at
  at::Tensor probes_;            ///< [probed, A, 3] f64: this rank's figures, zeros elsewhere
  std::chrono::steady_clock::time_point last_checkpoint_;
};

}  // namespace dissent
