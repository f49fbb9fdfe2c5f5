#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "comm/grid.hpp"
#include "core/divide_up.hpp"

// What trainings on caches and on images cost in the same way: files, time of messages and epochs,
// and the choice of a grid. Values are f32.
namespace dissent {

inline constexpr int64_t kFloatBytes = sizeof(float);

/// LibTorch, MPI, HDF5 and what they allocate, of one process: the peak of a training of 72
/// parameters (docs/performance.md), 148 .. 151 MiB.
inline constexpr int64_t kBaseBytes = int64_t{150} << 20;

/// What a run writes.
struct RunFiles {
  int64_t value_bytes = 0;     ///< of all tensors of a checkpoint
  int64_t tensors = 0;         ///< of a checkpoint
  int64_t optimizer_sets = 0;  ///< groups of tensors with the optimiser's states
  int64_t config_bytes = 0;    ///< of the configuration's text
  int64_t members = 0, epochs = 0, ranks = 1;
  bool validates = false;  ///< best.h5 is written too
};
/// Bytes on disk of one run.
struct StorageCost {
  int64_t checkpoint = 0;  ///< one file at the end of the training
  int64_t peak = 0;  ///< checkpoint.h5, best.h5 with a validation set, and the temporary of the one
                     ///< that is being written
  int64_t logs = 0;  ///< train.csv, configuration, provenance, progress, a heartbeat per rank; an
                     ///< upper bound
};
StorageCost storage_cost(const RunFiles& files);

/// Time of a message.
struct MessageCost {
  double latency_s = 5e-6;  ///< per message
  double bytes_per_second = 1e9;
  /// Ring of n ranks: n - 1 messages one after another; all_reduce has two such rounds.
  double all_gather(int64_t ranks, double received_bytes) const;
  double all_reduce(int64_t ranks, double bytes) const;
};
/// Latency and bandwidth from gathers of a few bytes and of 4 MiB over all ranks, fastest of 20;
/// with one rank the defaults. Collective.
MessageCost measure_messages(Communicator& world);

/// Time of a training. Left out: loading data, writing checkpoints, ranks that wait for each other
/// because of noise.
struct TimeCost {
  double step_s = 0;              ///< mean over the steps of an updating epoch
  double exchange_s = 0;          ///< part of step_s that messages take
  double validation_s = 0;        ///< after each epoch
  std::optional<double> epoch_s,  ///< an updating epoch with its validation
      run_s, total_s;  ///< all runs, those of one rank one after another; nothing where the number
                       ///< of rows is unknown
};
/// Runs that a rank trains one after another.
inline int64_t rounds_of_runs(int64_t runs, const GridShape& grid) {
  return divide_up(runs, grid.runs);
}

/// What a grid can divide at most.
struct GridLimits {
  int64_t runs = 1, members = 1, batch = 1;
};
/// The split of `ranks` with the shortest time: runs x members x data = ranks, no part empty; of
/// equals the one with fewer data parts (another split of the members gives the same bits, another
/// one of the data does not). Nothing if there is none.
std::optional<GridShape> fastest_grid(int64_t ranks, const GridLimits& limits,
                                      const std::function<double(const GridShape&)>& seconds);

}  // namespace dissent
