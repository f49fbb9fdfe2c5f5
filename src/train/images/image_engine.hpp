#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "comm/grid.hpp"
#include "data/image_loader.hpp"
#include "ensemble/image_members.hpp"
#include "train/run/epoch_record.hpp"
#include "train/images/image_checkpoint.hpp"
#include "train/config/image_options.hpp"
#include "train/images/image_stepper.hpp"
#include "train/run/trace.hpp"

namespace dissent {

/// Trains one ensemble of image networks on the ranks of grid.run. Writes train.csv, progress.json,
/// heartbeat.<rank>, checkpoint.h5 and, with a validation set, best.h5 (highest accuracy of the
/// ensemble, of equal ones the later) into the folder; goes on from a checkpoint.h5 that is there.
/// On the CPU the results have the same bits for every number of member parts, threads and workers,
/// interrupted or not.
/// Every rank makes the pixels of its own members' batches, and of the batch that all members see:
/// they follow from counters, so none are sent.
class ImageTrainer {
 public:
  ImageTrainer(const ImageTrainConfig& config, const ImageData& data, Grid& grid,
               RunContext context);
  ~ImageTrainer();
  /// False if a stop was requested (core/stop.hpp): a checkpoint is written then. Collective over
  /// the run.
  bool train(bool resume);

 private:
  struct Pending;
  bool run_epoch();
  Pending ask(const ImageEpoch& epoch, int64_t batch);
  ImageStepInput receive(Pending& pending) const;
  bool train_step(const ImageEpoch& epoch, int64_t step, Request& pending);
  void write_inside_epoch();
  void prefetch(const ImageEpoch& epoch);
  Request own_request() const;
  bool finish_epoch(const ImageEpoch& epoch);
  bool validate(EpochRecord& record);
  void average_weights();
  void write_checkpoint(const std::string& name);
  void write_log();
  NamedTensors weights() const;
  void start_trace();
  at::Tensor draws_of(const TransformedSet& set, const std::vector<int64_t>& rows,
                      uint64_t stream) const;
  TraceStep trace_step(const ImageEpoch& epoch, const ImageStepInput& input, double share,
                       std::vector<double> losses) const;

  const ImageTrainConfig& config_;
  const ImageData& data_;
  Grid& grid_;
  RunContext context_;
  ImagePlanOptions plan_;
  ImageObjective objective_;
  ImageMembers members_;
  at::Tensor average_;  ///< [n, P] moving average of the weights; undefined without
  std::unique_ptr<Discriminator> discriminator_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<ImageStepper> stepper_;
  std::unique_ptr<ImageLoader> loader_;
  std::unique_ptr<class Heartbeat> heartbeat_;
  std::unique_ptr<class ProgressBar> progress_;
  std::unique_ptr<TraceWriter> trace_;
  ImageRunState state_;
  at::Tensor table_;  ///< [steps of the epoch, 1 + columns] f64: skipped, then the stepper's
                      ///< figures; this rank's share
  std::vector<Pending> pending_;  ///< batches asked for, in order
  int64_t asked_ = 0;             ///< the first batch of the epoch that is not
  std::chrono::steady_clock::time_point last_checkpoint_;
};

}  // namespace dissent
