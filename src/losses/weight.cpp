#include <dissent/error.hpp>
#include <dissent/losses/weight.hpp>

#include <algorithm>

namespace dissent::losses {

double weight_at(const LossWeight& weight, int64_t epoch, int64_t step) {
  DISSENT_CHECK(weight.period >= 1, kUsage, "weight_at: period: expected 1 or more, found {}",
                weight.period);

  if (epoch < weight.from_epoch || (weight.to_epoch && epoch >= *weight.to_epoch)) return 0;

  // With a period n, steps n - 1, 2 n - 1, ... have the loss: the last one of each period.
  const bool every_step = epoch < weight.every_step_before ||
                          (weight.every_step_from && epoch >= *weight.every_step_from);
  if (!every_step && (step + 1) % weight.period != 0) return 0;

  //   weight (epoch - from_epoch) / ramp_epochs,
  // from 0 in the first epoch of the loss.
  if (weight.ramp_epochs <= 0) return weight.weight;
  return weight.weight * std::min(static_cast<double>(epoch - weight.from_epoch) /
                                      static_cast<double>(weight.ramp_epochs),
                                  1.0);
}

}  // namespace dissent::losses
