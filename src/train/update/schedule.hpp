#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/option_table.hpp"

namespace dissent {

enum class ScheduleKind { kConstant, kCosine, kPlateau };
/// How often a cosine schedule changes the rate.
enum class ScheduleUnit { kEpoch, kStep };
/// What a cosine schedule does past t_max_epochs.
enum class AfterEnd { kHold, kRise };

/// [schedule]
struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kConstant;
  std::optional<int64_t> t_max_epochs = {};
  ScheduleUnit per = ScheduleUnit::kEpoch;
  double minimum = 0;
  AfterEnd after_end = AfterEnd::kHold;
  double warmup_epochs = 0;
  double factor = 0.1;
  int64_t patience = 10;
  double threshold = 1e-4;
};
const TableSpec& schedule_table();

/// Cosine annealing: minimum + (start - minimum) (1 + cos(pi t / t_max)) / 2.  Past t_max the rate
/// rises again as in torch; with `hold` it stays at the minimum.
/// Ref: torch.optim.lr_scheduler.CosineAnnealingLR; reference cases sed_member.h5 / schedule
double cosine_rate(double start, double minimum, double t, double t_max, bool hold);

/// Learning rate of each step. Only `plateau` has a state, which is part of the checkpoint.
class Schedule {
 public:
  /// epochs: of the training, a frozen first one included; t_max_epochs = "auto" stands for it.
  Schedule(const ScheduleOptions& options, double start, int64_t epochs, int64_t steps_per_epoch);
  /// epoch counts updating epochs from 0. Warm-up rises linearly from 0 over the first
  /// warmup_epochs, step by step.
  double rate(int64_t epoch, int64_t step) const;
  /// Called after an updating epoch, for `plateau`. loss: validation NLL with a validation set,
  /// else the total training loss.
  void observe(double loss);

  /// State of `plateau`: best loss so far, epochs without improvement, current factor.
  struct State {
    double best;
    int64_t bad_epochs;
    double scale;
  };
  const State& state() const { return state_; }
  void set_state(const State& state) { state_ = state; }

 private:
  ScheduleOptions options_;
  double start_;
  int64_t epochs_, steps_per_epoch_;
  State state_;
};

}  // namespace dissent
