#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/grid.hpp"
#include "models/head.hpp"
#include "train/config/head_config.hpp"
#include "train/heads/head_plan.hpp"

namespace dissent {

/// What `dissent plan` says of training.precision = "f64".
inline constexpr const char* kF64Note =
    "f64: this is the cost in f32; weights, messages and products take about twice as much";

// What a training costs, from shapes alone: bytes of memory, storage and messages, operations, and
// the waves that keep ranks busy. No data is needed. A "pair" below is a (step, active member)
// whose member a rank holds: the unit of work of train/heads/host_stepper.hpp. Values are f32.

/// Rows of a feature cache, as far as costs depend on them.
struct RowsShape {
  int64_t rows_per_pass = 0;
  int64_t passes = 1;
  int64_t dim = 0;
  int64_t classes = 0;
  int64_t element_bytes = 4;  ///< of a feature in the file and in memory: f32 4, f16 and bf16 2
  int64_t rows() const { return rows_per_pass * passes; }
};
/// Bytes of a node that hold all rows (residency host): features, labels and indices, each part
/// aligned to 64 bytes. = HostResidency::bytes
int64_t host_bytes(const RowsShape& rows);
/// Bytes of the two chunks of residency stream; chunk_rows 0 or above a pass: the pass. =
/// ChunkStream::bytes
int64_t stream_bytes(const RowsShape& rows, int64_t chunk_rows);
/// Values in a cache's shards, without what HDF5 adds. = CacheSpec::row_bytes x rows
int64_t cache_bytes(const RowsShape& rows);

/// What one run computes.
struct RunShape {
  std::shared_ptr<const Head> head;
  int64_t saved_per_row =
      0;  ///< values that a forward pass keeps for backward, a row (counted in a pass over one row)
  int64_t states =
      0;  ///< values of the optimiser a parameter: adam and adamw 2, sgd 1 with momentum, else 0
  bool whole_gradient =
      false;  ///< the gradient reaches memory: clipping (a split batch does so too)
  bool gathers_norms =
      false;  ///< a second, small exchange a wave: clipping, or on_nan = "skip_step"
  int64_t epochs = 1;
  bool frozen_first_epoch = false;
  int64_t look_ahead = 64;
  int64_t gradient_samples = 0;  ///< steps an epoch and member whose gradients are told apart
                                 ///< (gradient_probe.hpp); 0 without both kinds of losses
  int64_t config_bytes = 0;      ///< of the configuration's text in a checkpoint
  PlanOptions plan;              ///< members, active members, batch, rows
  RowsShape train;
  std::optional<RowsShape> validation, unlabelled;

  int64_t flat() const { return head->layout().size(); }  ///< P, padding included
  int64_t rows_a_step() const {
    return plan.batch_size + (plan.unlabelled_rows > 0 ? plan.batch_size : 0);
  }
  int64_t updating_epochs() const { return epochs - (frozen_first_epoch ? 1 : 0); }
};
/// `train` is what is left after data.subset. Error::kUsage from make_head.
RunShape run_shape(const TrainConfig& config, const RowsShape& train,
                   const std::optional<RowsShape>& validation,
                   const std::optional<RowsShape>& unlabelled, int64_t config_bytes);

/// One step of a run, over all its ranks.
struct StepCost {
  double flops = 0;  ///< products: forward, input gradient, weight gradient, each 2 B out in a
                     ///< weight (mlp and linear: one input gradient less than that)
  double weight_bytes = 0;   ///< bound of memory traffic: weights read by forward and by backward,
                             ///< weights and states read and written by the update, and written and
                             ///< read once more where the gradient reaches memory; of one data part
  int64_t logits_bytes = 0;  ///< [A, B + U, C]
  double gather_bytes =
      0;  ///< of the logits, received by a rank of the run (mean): logits_bytes (1 - 1 / ranks)
  double reduce_bytes = 0;  ///< of weight gradients, sent by a rank (mean): 2 (d - 1) / d P values
                            ///< a pair, d data parts
};
StepCost step_cost(const RunShape& run, const GridShape& grid);

/// The waves of (the first steps of) an epoch on member groups.
struct WaveSimulation {
  struct Wave {
    int64_t steps;
    std::vector<int64_t> pairs;  ///< of each group
  };
  std::vector<Wave> waves;
  int64_t steps = 0;
  double mean_width() const {
    return static_cast<double>(steps) / static_cast<double>(waves.size());
  }
  int64_t most_pairs() const;  ///< of a group in a wave
  int64_t most_steps() const;  ///< of a wave
  /// Pairs over the sum of each wave's largest group: how many times faster than one rank the
  /// groups are if a pair costs the same everywhere, a rank does one after the other and messages
  /// cost nothing.
  double speed_up() const;
};
/// Real plan and wave planner of epoch 0, for `parts` groups of members. most: steps that are
/// looked at.
WaveSimulation simulate_waves(const RunShape& run, int64_t parts, int64_t most = 20000);

/// LibTorch, MPI, HDF5 and what they allocate, of one process: the peak of a training of 72
/// parameters (docs/performance.md), 148 .. 151 MiB.
inline constexpr int64_t kBaseBytes = int64_t{150} << 20;

/// Memory in bytes at the peak, of the rank that holds most.
struct MemoryCost {
  int64_t base = kBaseBytes;
  int64_t parameters = 0;  ///< [m, P]
  int64_t optimizer = 0;   ///< states x [m, P]
  int64_t activations =
      0;  ///< of the widest wave: batches, what forward keeps, and the gradients of that
  int64_t gradients = 0;  ///< whole gradients (clipping, split batch, or those that are told
                          ///< apart), and a block a thread
  int64_t logits = 0;  ///< gathered, of the steps that it takes part in, their gradients, and what
                       ///< the losses make of them
  int64_t plan = 0;    ///< the steps of an epoch and their figures
  int64_t validation = 0;  ///< of a block of rows
  int64_t checkpoint = 0;  ///< the largest parameter of all members, contiguous, and buffers
  /// After each other: validation and checkpoint.
  int64_t rank() const {
    return base + parameters + optimizer + activations + gradients + logits + plan +
           std::max(validation, checkpoint);
  }
};
MemoryCost memory_cost(const RunShape& run, const GridShape& grid, const WaveSimulation& waves,
                       int64_t threads);

/// Whether rows are streamed and what all caches take on a node; runs_on_node: runs whose ranks are
/// there (each has a stream of its own).
struct DataCost {
  bool stream = false;
  int64_t node_bytes = 0;
};
DataCost data_cost(const RunShape& run, const CacheDataOptions& options, int64_t runs_on_node,
                   int64_t available_bytes);

/// Bytes on disk of one run.
struct StorageCost {
  int64_t checkpoint = 0;  ///< one file at the end of the training
  int64_t peak = 0;  ///< checkpoint.h5, best.h5 with a validation set, and the temporary of the one
                     ///< that is being written
  int64_t logs =
      0;  ///< train.csv, configuration, provenance, progress, a heartbeat a rank; a bound
};
StorageCost storage_cost(const RunShape& run, int64_t ranks);

/// Time of a message.
struct MessageCost {
  double latency_s = 5e-6;  ///< of one message
  double bytes_per_second = 1e9;
  /// Ring: n - 1 messages after each other.
  double all_gather(int64_t ranks, double received_bytes) const;
  double all_reduce(int64_t ranks, double bytes) const;
};

/// What a rank takes, as measured on it (train/cost/head_calibration.hpp) or assumed.
struct RankTimes {
  std::function<double(int64_t pairs)> wave_s;         ///< its share of a wave
  std::function<double(int64_t pairs)> frozen_wave_s;  ///< the same in a frozen epoch
  double plan_s = 0;                                   ///< to plan an epoch
  double probe_s = 0;       ///< to tell gradients apart in an updating epoch
  double validation_s = 0;  ///< to validate, without the exchange
};

/// time of a wave = max over member groups of wave_s(pairs) + exchange(bytes of its logits);  epoch
/// = sum over waves + plan + probes + validation. Left out: loading data, writing checkpoints,
/// ranks that wait for each other because of noise.
struct TimeCost {
  double step_s = 0;        ///< of an updating epoch, mean
  double exchange_s = 0;    ///< share of step_s that messages take
  double busy = 0;          ///< share of the waves' time that a rank computes, mean over the groups
  double validation_s = 0;  ///< after each epoch
  double epoch_s = 0;       ///< an updating epoch, validation included
  double run_s = 0;
  double total_s = 0;  ///< all runs: those of a rank after each other
};
TimeCost time_cost(const RunShape& run, const GridShape& grid, int64_t runs,
                   const WaveSimulation& waves, const RankTimes& times,
                   const MessageCost& messages);

/// Rates of one rank.
struct MachineRates {
  double flops_per_second = 80e9;
  double bytes_per_second = 30e9;
};
/// Seconds that the products and the weight traffic of a step take at these rates if all ranks of a
/// run share them evenly: nothing can be faster.
double step_bound_s(const RunShape& run, const GridShape& grid, const MachineRates& rates);

/// The split of `ranks` with the shortest total time at these rates: runs x members x data = ranks,
/// runs at most the seeds, parts of members and batch not empty; of equals the one with fewer data
/// parts (another split of the members gives the same bits, another one of the data does not).
/// Nothing if there is none.
std::optional<GridShape> best_grid(const RunShape& run, int64_t ranks, int64_t runs,
                                   const MachineRates& rates, const MessageCost& messages);

}  // namespace dissent
