#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/grid.hpp"
#include "models/head.hpp"
#include "storage/cache_manifest.hpp"
#include "train/config/head_config.hpp"
#include "train/cost/shared_costs.hpp"
#include "train/heads/head_plan.hpp"

namespace dissent {

// What a training of heads costs, from shapes alone: bytes of memory, storage and messages,
// operations, and the waves that keep ranks busy. No data is needed. A "pair" below is a (step,
// active member) whose member is on the rank: the unit of work of train/heads/host_stepper.hpp.

/// Rows of a feature cache, as far as costs depend on them.
struct RowsShape {
  int64_t rows_per_pass = 0;
  int64_t passes = 1;
  int64_t dim = 0;
  int64_t classes = 0;
  at::ScalarType dtype = at::kFloat;  ///< of a feature, in the file and in memory
  int64_t rows() const { return rows_per_pass * passes; }
};
RowsShape shape_of(const CacheSpec& spec);
/// Bytes of a node that hold all rows (residency host).
int64_t host_bytes(const RowsShape& rows);
/// Bytes of the two chunks of residency stream; chunk_rows 0 or above a pass: the pass.
int64_t stream_bytes(const RowsShape& rows, int64_t chunk_rows);
/// Values in a cache's shards, without what HDF5 adds.
int64_t cache_bytes(const RowsShape& rows);

/// What one run computes.
struct HeadRunShape {
  std::shared_ptr<const Head> head;
  int64_t saved_per_row = 0;  ///< values per row that a forward pass saves for backward (counted in
                              ///< a pass over one row)
  int64_t states =
      0;  ///< optimiser values per parameter: adam and adamw 2, sgd 1 with momentum, else 0
  bool whole_gradient =
      false;  ///< the gradient reaches memory: clipping (a split batch does so too)
  bool gathers_norms =
      false;  ///< a second, small exchange per wave: clipping, or on_nan = "skip_step"
  int64_t epochs = 1;
  bool frozen_first_epoch = false;
  int64_t look_ahead = 64;
  int64_t gradient_samples = 0;  ///< steps per epoch and member in which gradients are compared
                                 ///< (gradient_probe.hpp); 0 without both kinds of losses
  int64_t config_bytes = 0;      ///< of the configuration's text in a checkpoint
  PlanOptions plan;              ///< members, active members, batch, rows
  RowsShape train;
  std::optional<RowsShape> validation, unlabelled;

  int64_t flat() const { return head->layout().size(); }  ///< P, padding included
  int64_t rows_per_step() const {
    return plan.batch_size + (plan.unlabelled_rows > 0 ? plan.batch_size : 0);
  }
  int64_t updating_epochs() const { return epochs - (frozen_first_epoch ? 1 : 0); }
};
/// `train` is what is left after data.subset. Error::kUsage from make_head.
HeadRunShape head_run_shape(const TrainConfig& config, const RowsShape& train,
                            const std::optional<RowsShape>& validation,
                            const std::optional<RowsShape>& unlabelled, int64_t config_bytes);

/// One step of a run, over all its ranks.
struct HeadStepCost {
  double flops = 0;  ///< products: forward, input gradient, weight gradient, each 2 B out in per
                     ///< weight (mlp and linear: one input gradient less than that)
  double weight_bytes = 0;   ///< least memory traffic: weights read by forward and by backward,
                             ///< weights and states read and written by the update, and written and
                             ///< read once more where the gradient reaches memory; of one data part
  int64_t logits_bytes = 0;  ///< [A, B + U, C]
  double gather_bytes =
      0;  ///< of the logits, received by a rank of the run (mean): logits_bytes (1 - 1 / ranks)
  double reduce_bytes = 0;  ///< of weight gradients, sent by a rank (mean): 2 (d - 1) / d P values
                            ///< per pair, d data parts
};
HeadStepCost head_step_cost(const HeadRunShape& run, const GridShape& grid);

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
/// Real plan and wave planner of epoch 0, for `parts` groups of members, over at most `most` steps.
WaveSimulation simulate_waves(const HeadRunShape& run, int64_t parts, int64_t most = 20000);

/// Memory in bytes at the peak, of the rank that holds most.
struct HeadMemoryCost {
  int64_t base = kBaseBytes;
  int64_t parameters = 0;  ///< [m, P]
  int64_t optimizer = 0;   ///< states x [m, P]
  int64_t activations =
      0;  ///< of the widest wave: batches, what forward saves, and the gradients of that
  int64_t gradients = 0;   ///< whole gradients (clipping, split batch, probes), and a block per
                           ///< thread
  int64_t logits = 0;      ///< gathered, of the steps that the rank takes part in, their gradients,
                           ///< and temporaries of the losses
  int64_t plan = 0;        ///< the steps of an epoch and their results
  int64_t validation = 0;  ///< of a block of rows
  int64_t checkpoint = 0;  ///< the largest parameter of all members, contiguous, and buffers
  /// Validation and checkpoint come after each other.
  int64_t rank() const {
    return base + parameters + optimizer + activations + gradients + logits + plan +
           std::max(validation, checkpoint);
  }
};
HeadMemoryCost head_memory_cost(const HeadRunShape& run, const GridShape& grid,
                                const WaveSimulation& waves, int64_t threads);

/// Whether rows are streamed, and what all caches take on a node.
struct DataCost {
  bool stream = false;
  int64_t node_bytes = 0;
};
/// runs_on_node: runs with ranks on the node, each of which has a stream of its own.
DataCost data_cost(const HeadRunShape& run, const CacheDataOptions& options, int64_t runs_on_node,
                   int64_t available_bytes);

/// Checkpoints and logs of a run on `ranks` ranks.
StorageCost head_storage_cost(const HeadRunShape& run, int64_t ranks);

/// What a rank takes, as measured on it (head_calibration.hpp) or assumed.
struct HeadRankTimes {
  std::function<double(int64_t pairs)> wave_s;         ///< its share of a wave
  std::function<double(int64_t pairs)> frozen_wave_s;  ///< the same in a frozen epoch
  double plan_s = 0;                                   ///< to plan an epoch
  double probe_s = 0;       ///< for the gradient probes of an updating epoch
  double validation_s = 0;  ///< to validate, without the exchange
};

struct HeadTimeCost : TimeCost {
  double busy = 0;  ///< share of the waves' time that a rank computes, mean over the groups
};
///   wave  = max over member groups of wave_s(pairs) + exchange(bytes of its logits)
///   epoch = sum over waves + plan + probes + validation
HeadTimeCost head_time_cost(const HeadRunShape& run, const GridShape& grid, int64_t runs,
                            const WaveSimulation& waves, const HeadRankTimes& times,
                            const MessageCost& messages);

/// Rates of one rank.
struct MachineRates {
  double flops_per_second = 80e9;
  double bytes_per_second = 30e9;
};
/// Seconds that the products and the weight traffic of a step take at these rates if all ranks of a
/// run share them evenly: nothing can be faster.
double step_bound_s(const HeadRunShape& run, const GridShape& grid, const MachineRates& rates);

/// The fastest split of `ranks` at these rates. Nothing if there is none.
std::optional<GridShape> best_head_grid(const HeadRunShape& run, int64_t ranks, int64_t runs,
                                        const MachineRates& rates, const MessageCost& messages);

}  // namespace dissent
