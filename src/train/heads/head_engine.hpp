#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "train/config/head_config.hpp"
#include "train/heads/head_data.hpp"
#include "train/heads/head_plan.hpp"
#include "train/heads/wave_stepper.hpp"
#include "train/heads/waves.hpp"
#include "train/run/training_engine.hpp"

namespace dissent {

/// Options of the steppers for a configuration.
StepperOptions head_step_options(const TrainConfig& config);

/// Trains heads on cached features. Steps without a common member are computed together in waves
/// (waves.hpp), on the host (HostStepper) or on a GPU (DeviceStepper). The results have the same
/// bits for every number of member parts, threads and look-ahead.
class HeadEngine final : public TrainingEngine {
 public:
  /// Makes the members of this rank with their initial weights. config, data and grid have to
  /// outlive this object. Error::kUsage from make_head. Not collective.
  HeadEngine(const TrainConfig& config, HeadData& data, Grid& grid, const RunContext& context);

  std::vector<std::string> loss_names() const override;
  at::Tensor parameters() const override { return members_.values; }
  int64_t steps_per_epoch() const override;
  int64_t schedule_steps() const override { return steps_per_epoch(); }
  int64_t epoch_rows() const override { return plan_options_.rows_per_pass; }
  const char* row_name() const override { return "rows"; }
  int64_t members() const override { return members_.total; }

  void start(const TrainingServices& services) override;
  RunContents contents() override;
  NamedTensors weights() const override;
  TraceShape trace_shape() const override;
  void write_run_files(const std::string&) const override {}

  bool updates(int64_t epoch) const override;
  EpochTables begin_epoch(int64_t epoch, int64_t step) override;
  Advance advance(int64_t step, EpochTables& tables) override;

  void add_step(const at::Tensor& row, EpochRecord& record) const override;
  void finish_record(const EpochTables& tables, EpochRecord& record) const override;
  double last_learning_rate() const override;

  std::optional<ValidationPlan> validation() const override;
  ValidationBlock validate_block(int64_t block, std::optional<int64_t> next) override;
  void finish() override {}

 private:
  std::vector<StepInput> load_wave(const std::vector<int64_t>& wave) const;
  void load_batch(const Step& step, StepInput& input) const;
  void probe(const std::vector<StepInput>& inputs, at::Tensor& probes);
  void record(int64_t step, const std::vector<int64_t>& active, const StepResult& result,
              int64_t rows_done, at::Tensor& table);
  void record_late(bool all, int64_t rows_done, at::Tensor& table);
  void trace(const StepInput& input, const StepResult& result);
  void raise_failure();
  Request request() const;
  int64_t updating_epoch() const;
  at::Tensor member_logits(const at::Tensor& rows) const;

  const TrainConfig& config_;
  HeadData& data_;
  Grid& grid_;
  PlanOptions plan_options_;
  ObjectiveOptions objective_;
  HeadMembers members_;
  std::optional<TrainingServices> services_;
  std::unique_ptr<WaveStepper> stepper_;
  std::optional<EpochPlan> plan_;  ///< of the current epoch, and its steps
  std::vector<Step> steps_;
  std::vector<int64_t> probed_;  ///< steps of the epoch whose gradients are probed, ascending
  int64_t epoch_ = 0;
};

}  // namespace dissent
