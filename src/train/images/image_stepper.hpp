#pragma once
#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "ensemble/split_loss.hpp"
#include "train/images/discriminator.hpp"
#include "train/images/image_objective.hpp"
#include "train/images/loss_scale.hpp"
#include "train/images/network_passes.hpp"
#include "train/images/pass_schedule.hpp"
#include "train/run/run_state.hpp"
#include "train/update/optimizer.hpp"

namespace dissent {

struct EnsembleLossValues;

struct ImageStepOptions {
  double clip_norm = 0;          ///< maximum norm of the gradient over all members; 0: no clipping
  bool skip_not_finite = false;  ///< skip steps whose gradient is not finite; false: an error
  at::ScalarType compute = at::kFloat;  ///< dtype of products: f32, or bf16 and f16 (autocast)
  bool synchronised_batch_norm =
      false;  ///< BatchNorm uses statistics of the whole batch, not of each data rank's part
  /// Whether this rank wants to stop; once true it stays true. Called between the passes of
  /// networks, from any thread, in steps that take long. Empty: never.
  std::function<bool()> stop = {};
};

/// Where an update stands in the training, for its error message.
struct UpdatePlace {
  int64_t epoch = 0, step = 0;
  at::Tensor values = {};  ///< of the step on this rank [columns] f64
};

/// Forward and backward passes of the networks of this rank, and their update.
///   total = 1/M sum over members m of sum over base losses w_k l_k(z_m)
///           + sum over ensemble losses w_k L_k(all members)
/// With same_batch = false each member has its own batch for the base losses (training mode);
/// ensemble losses read one batch that all members see, in evaluation mode, after the training pass
/// has moved the running statistics. Members of other ranks enter as constants
/// (ensemble/split_loss.hpp). Gradients of a batch that is split over data ranks are summed over
/// them. BatchNorm uses the statistics of each rank's part of the batch, or of the whole batch
/// (models/networks/synchronised_batch_norm.hpp): training passes then wait for other ranks, so
/// that the networks of this rank run one after the other. A rank may have no rows of a batch that
/// only base losses read.
///
/// accumulate() follows a schedule of passes (pass_schedule.hpp) that is built before anything
/// runs. On the CPU the results have the same bits for every split of the members. Ref: sdde
/// openood/trainers/deed_trainer.py DEEDTrainer.train_epoch; cases sdde_losses.h5 sdde_step
class ImageStepper {
 public:
  ImageStepper(ImageMembers& members, const ImageObjective& objective,
               const ImageStepOptions& options, Grid& grid, Discriminator* discriminator);
  ~ImageStepper();

  /// Columns of the values of a step: per base loss one per network of the ensemble, per ensemble
  /// loss one.
  int64_t columns() const { return columns_; }
  /// The value of each term, without its weight, from the values of a step [columns].
  std::vector<double> term_values(const at::Tensor& values) const;

  /// True if the batch needs `common`.
  bool reads_common_batch(const ImageStepInput& input) const;

  /// Adds share times the gradient of the batch to the accumulated one. Returns share times this
  /// rank's values [columns] f64; columns of other ranks are 0. Collective over the run.
  ///
  /// Nothing, on every rank, if a rank requested a stop meanwhile: the step is abandoned then, and
  /// everything that it had changed is as before its first batch. A rank that wants to stop skips
  /// its remaining passes, so it returns after that of one network (with synchronised statistics:
  /// after half a batch); steps of less than a second are completed instead.
  std::optional<at::Tensor> accumulate(const ImageStepInput& input, double share);

  struct Outcome {
    bool skipped = false;             ///< not finite, and on_nan = "skip_step" or half precision
    double norm = 0;                  ///< of the gradient over all members
    Request agreed = Request::kNone;  ///< the largest request of any rank
  };
  /// One step of the optimiser with the accumulated gradient. Error::kData on every rank if the
  /// gradient is not finite: place, terms and members that are not. Collective over the run.
  Outcome update(Optimizer& optimizer, double learning_rate, Request request,
                 const UpdatePlace& place = {});

  LossScale& loss_scale() { return scale_; }

 private:
  struct GatheredNorms;
  BatchContext plan_batch(const ImageStepInput& input, double share) const;
  void check_rows(const ImageRows& rows) const;
  bool run_stage(const PassStage& stage, const BatchContext& batch,
                 std::vector<NetworkState>& states);
  at::Tensor values_of(const std::vector<NetworkState>& states, const EnsembleLossValues* ensemble,
                       double share) const;
  void add_gradient(int64_t network, const std::vector<at::Tensor>& gradient);
  EnsembleSplit split(int64_t rows);
  void begin_step();
  bool stop_wanted() const { return watches_ && options_.stop(); }
  bool abandoned();
  GatheredNorms gather_norms(Request request);
  [[noreturn]] void fail_not_finite(const UpdatePlace& place, const GatheredNorms& norms,
                                    double norm, double learning_rate);
  void update_members(Optimizer& optimizer, double factor, double learning_rate);

  ImageMembers& members_;
  ImageObjective objective_;
  ImageStepOptions options_;
  Grid& grid_;
  Discriminator* discriminator_;
  std::unique_ptr<Communicator> device_members_,
      device_data_;  // over device memory; unset on the host
  Communicator* batch_norm_ =
      nullptr;  // ranks that share the statistics of training passes; nullptr: none
  std::vector<int64_t> column_;  // first column of each term
  int64_t columns_ = 0;
  at::Tensor gradients_;  // [n, P], accumulated
  LossScale scale_;
  std::unique_ptr<NetworkPasses> passes_;

  bool in_step_ = false;  // a batch of the step has begun
  bool watches_ = false;  // this step may take long: the same on every rank
  std::chrono::steady_clock::time_point step_start_;
  at::Tensor buffers_before_;  // running statistics before the step, where it is watched
  double longest_s_ = std::numeric_limits<double>::infinity();  // of the last step, on any rank
};

}  // namespace dissent
