#include "train/update/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace dissent {

const TableSpec& schedule_table() {
  using S = ScheduleOptions;

  static const TableSpec table =
      OptionTable<S>("schedule", "Learning rate schedule")

          .choice("name", &S::kind,
                  {{"constant", ScheduleKind::kConstant},
                   {"cosine", ScheduleKind::kCosine},
                   {"plateau", ScheduleKind::kPlateau}},
                  "shape of the learning rate over the training")
          .option("t_max_epochs", &S::t_max_epochs,
                  {.meaning = "cosine: epochs until the minimum; auto: training.epochs", .min = 1})
          .choice("per", &S::per, {{"epoch", ScheduleUnit::kEpoch}, {"step", ScheduleUnit::kStep}},
                  "cosine: the rate changes once per epoch or once per step")
          .option("minimum", &S::minimum,
                  {.meaning = "cosine, plateau: lowest learning rate", .min = 0})
          .choice("after_end", &S::after_end,
                  {{"hold", AfterEnd::kHold}, {"rise", AfterEnd::kRise}},
                  "cosine past t_max_epochs: hold the minimum, or rise again as torch does")

          // A factor of the rate, with any shape.
          .option("warmup_epochs", &S::warmup_epochs,
                  {.meaning = "epochs of linear warm-up from 0, step by step; may be fractional",
                   .min = 0})

          .option("factor", &S::factor,
                  {.meaning = "plateau: the rate is multiplied by this", .min = 0, .max = 1})
          .option("patience", &S::patience,
                  {.meaning = "plateau: epochs without improvement before the rate is reduced",
                   .min = 0})
          .option("threshold", &S::threshold,
                  {.meaning = "plateau: smallest relative improvement that counts", .min = 0});
  return table;
}

double cosine_rate(double start, double minimum, double t, double t_max, bool hold) {
  // Past t_max the cosine rises again, as that of torch.
  if (hold && t > t_max) t = t_max;
  return minimum + (start - minimum) * (1 + std::cos(std::numbers::pi * t / t_max)) / 2;
}

Schedule::Schedule(const ScheduleOptions& options, double start, int64_t epochs,
                   int64_t steps_per_epoch)
    : options_(options),
      start_(start),
      epochs_(epochs),
      steps_per_epoch_(steps_per_epoch),
      state_{std::numeric_limits<double>::infinity(), 0, 1.0} {}

double Schedule::rate(int64_t epoch, int64_t step) const {
  // Position in epochs, with the part of the current one.
  const double at =
      static_cast<double>(epoch) +
      static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, steps_per_epoch_));

  // The cosine is evaluated in closed form, unlike the recurrence of torch's scheduler: a resumed
  // run has the same rates without a state.
  double rate = start_;
  if (options_.kind == ScheduleKind::kCosine) {
    const double t_max =
        static_cast<double>(options_.t_max_epochs.value_or(std::max<int64_t>(1, epochs_)));
    rate = cosine_rate(start_, options_.minimum,
                       options_.per == ScheduleUnit::kStep ? at : static_cast<double>(epoch), t_max,
                       options_.after_end == AfterEnd::kHold);
  } else if (options_.kind == ScheduleKind::kPlateau) {
    rate = std::max(options_.minimum, start_ * state_.scale);
  }

  // Linear warm-up: the factor (k + 1) / n of step k of n, so that the first step has a rate above
  // 0.
  if (at < options_.warmup_epochs)
    rate *= (at * static_cast<double>(steps_per_epoch_) + 1) /
            (options_.warmup_epochs * static_cast<double>(steps_per_epoch_));
  return rate;
}

void Schedule::observe(double loss) {
  // As torch's ReduceLROnPlateau with a relative threshold: an epoch counts as better only if the
  // loss is lower by this part, and the epochs are counted anew after each reduction.
  if (loss < state_.best * (1 - options_.threshold)) {
    state_.best = loss;
    state_.bad_epochs = 0;
  } else if (++state_.bad_epochs > options_.patience) {
    state_.scale *= options_.factor;
    state_.bad_epochs = 0;
  }
}

}  // namespace dissent
