#pragma once
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "train/config/image_config.hpp"
#include "train/images/discriminator.hpp"
#include "train/images/image_batches.hpp"
#include "train/images/image_data.hpp"
#include "train/images/image_plan.hpp"
#include "train/images/image_stepper.hpp"
#include "train/run/training_engine.hpp"

namespace dissent {

/// Options of the stepper that a configuration asks for.
ImageStepOptions image_step_options(const ImageTrainConfig& config);
/// The discriminator that a loss of the objective trains, with its initial weights; nullptr without
/// such a loss.
std::unique_ptr<Discriminator> make_discriminator(const ImageTrainConfig& config,
                                                  const ImageObjective& objective,
                                                  const ImageNetwork& network, uint64_t seed,
                                                  const at::TensorOptions& tensor_options);

/// Trains networks on images: a step is training.accumulation batches and one update
/// (image_stepper.hpp). On the CPU the results have the same bits for every number of member parts,
/// threads and workers.
class ImageEngine final : public TrainingEngine {
 public:
  ImageEngine(const ImageTrainConfig& config, const ImageData& data, Grid& grid,
              const RunContext& context);
  ~ImageEngine() override;

  std::vector<std::string> loss_names() const override;
  at::Tensor parameters() const override { return members_.values; }
  int64_t steps_per_epoch() const override;
  int64_t schedule_steps() const override { return batches_per_epoch(plan_options_); }
  int64_t epoch_rows() const override { return plan_options_.rows; }
  const char* row_name() const override { return "images"; }
  int64_t members() const override { return members_.total; }

  void start(const TrainingServices& services) override;
  RunContents contents() override;
  NamedTensors weights() const override;
  TraceShape trace_shape() const override;
  void write_run_files(const std::string& folder) const override;

  bool updates(int64_t) const override { return true; }
  EpochTables begin_epoch(int64_t epoch, int64_t step) override;
  Advance advance(int64_t step, EpochTables& tables) override;

  void add_step(const at::Tensor& row, EpochRecord& record) const override;
  void finish_record(const EpochTables&, EpochRecord&) const override {}
  double last_learning_rate() const override;

  std::optional<ValidationPlan> validation() const override;
  ValidationBlock validate_block(int64_t block, std::optional<int64_t> next) override;
  void finish() override;

 private:
  void check_layout() const;
  void load_initial_weights();
  ImageStepInput next_batch();
  void average_weights();
  std::string loss_text(const at::Tensor& values) const;
  std::future<ImageBatch> request_validation(int64_t block);
  at::Tensor draws_of(const TransformedSet& set, const std::vector<int64_t>& rows,
                      uint64_t stream) const;
  TraceStep trace_step(const ImageStepInput& input, double share, std::vector<double> losses) const;
  void write_trace(std::vector<TraceStep> batches, double learning_rate, bool skipped);

  const ImageTrainConfig& config_;
  const ImageData& data_;
  Grid& grid_;
  RunContext context_;
  ImagePlanOptions plan_options_;
  ImageObjective objective_;
  ImageMembers members_;
  at::Tensor average_;  ///< [n, P] moving average of the weights; undefined without
  std::unique_ptr<Discriminator> discriminator_;
  std::optional<TrainingServices> services_;
  std::unique_ptr<ImageStepper> stepper_;
  std::unique_ptr<ImageBatches> batches_;
  std::optional<ImageEpoch> epoch_;
  std::future<ImageBatch> next_validation_;  ///< read ahead
};

}  // namespace dissent
