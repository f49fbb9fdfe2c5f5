#pragma once
#include <cstdint>
#include <map>

#include "comm/communicator.hpp"
#include "train/cost/head_cost.hpp"

namespace dissent {

/// What one rank of a grid takes, measured by running the code of a training step (HostStepper) on
/// random data of the real shapes, on threads() threads.
struct HeadCalibration {
  std::map<int64_t, double>
      wave_s;  ///< median seconds of the rank's share of a wave, by the pairs in it
  std::map<int64_t, double> frozen_wave_s;  ///< the same with losses only
  double plan_s = 0;                        ///< to plan an epoch
  double probe_s = 0;       ///< for the gradient probes of an epoch (gradient_probe.hpp)
  double validation_s = 0;  ///< to validate, without the exchange; 0 without a validation set
};

/// Measures the rank at `member_part` (and data part 0) of a run's grid for about `seconds`, in
/// this process alone: zeros stand in for the other ranks, so the cost of messages is not
/// included. Uses as much memory as that rank of a training, with up to 64 MiB of features. Not
/// collective. Ranks that share memory should do it at the same time: the time of an update depends
/// on the traffic of all of them.
HeadCalibration calibrate_heads(const TrainConfig& config, const HeadRunShape& run,
                                const GridShape& grid, int64_t member_part, double seconds);

/// Mean over the ranks that have a value; ranks that measured nothing give an empty one.
/// Collective.
HeadCalibration merge(Communicator& comm, const HeadCalibration& own, int64_t most_pairs);

/// wave_s and frozen_wave_s as functions: the measured value, else from the straight line through
/// the measured ones (least squares, not below 0).
HeadRankTimes rank_times(const HeadCalibration& calibration);

/// Rates of products as those of a step (its batch, its widest weight) and of memory traffic (a +=
/// b), on all threads; fastest of several repetitions.
MachineRates machine_rates(const HeadRunShape& run, const GridShape& grid);

}  // namespace dissent
