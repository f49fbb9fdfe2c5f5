#pragma once
#include <cstdint>
#include <optional>

namespace dissent::losses {

/// Weight of a loss over a training: the keys common to all losses. Epochs and steps count from 0;
/// a frozen first epoch is not counted.
struct LossWeight {
  double weight = 1;                     ///< in the objective, >= 0
  int64_t from_epoch = 0;                ///< first epoch with this loss
  std::optional<int64_t> to_epoch = {};  ///< epoch from which the loss is off; none: to the end
  int64_t ramp_epochs = 0;  ///< the weight grows, epoch by epoch, from 0 in from_epoch to its full
                            ///< value this many epochs later
  int64_t period = 1;  ///< on every period-th step of an epoch: steps period - 1, 2 period - 1, ..
  int64_t every_step_before =
      0;  ///< before this epoch, the loss is computed in every step, regardless of period
  std::optional<int64_t> every_step_from =
      {};  ///< from this epoch on, the loss is computed in every step
};

/// Weight in this step; 0 if the loss is off, so that it need not be computed:
///   weight * min((epoch - from_epoch) / ramp_epochs, 1)
///       in  from_epoch <= epoch < to_epoch, on the steps of the period
/// SDDE's keys (its epochs and steps count from 1): diversity_loss_period is `period`,
/// diversity_loss_first_epochs n is every_step_before = n, diversity_loss_last_epochs n is
/// every_step_from = epochs - n - 1 (so the last n + 1 epochs), dice_ramp_up_epochs is ramp_epochs
/// (the weight is 0 in the first epoch).
/// Ref: sdde openood/trainers/deed_trainer.py DEEDTrainer.train_epoch; cases sdde_losses.h5
/// apply_diversity, dice_scale.
double weight_at(const LossWeight& weight, int64_t epoch, int64_t step);

}  // namespace dissent::losses
