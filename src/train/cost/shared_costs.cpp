#include "train/cost/shared_costs.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "core/timing.hpp"

namespace dissent {
namespace {

// What HDF5 and the seal add to a checkpoint, measured on six files: the file with its progress,
// each tensor, each set of tensors of the optimiser.
constexpr int64_t kFileBytes = 6750, kTensorBytes = 362, kOptimizerSetBytes = 770;

// Upper bounds: a line of train.csv and its values per member, provenance and progress, a
// heartbeat.
constexpr int64_t kCsvLineBytes = 256, kCsvMemberBytes = 60, kRecordFileBytes = 4096,
                  kHeartbeatBytes = 256;

constexpr int kMessageRepetitions = 20;
constexpr int64_t kLargeMessageValues = int64_t{1} << 20;

// Seconds of a gather of so many values over all ranks: the fastest repetition of the slowest rank.
double fastest_gather(Communicator& world, int64_t values) {
  // At least one value per rank: with none there would be no message to time.
  const auto ranks = static_cast<int64_t>(world.size());
  const std::vector<int64_t> counts(ranks, std::max<int64_t>(1, values / ranks));
  const auto local = at::zeros({counts[0]});

  // The fastest repetition: noise can only add. Then the slowest rank, for which the others wait.
  double best = 1e9;
  for (int repetition = 0; repetition < kMessageRepetitions; ++repetition) {
    world.barrier();
    const auto start = Clock::now();
    world.all_gather(local, counts);
    best = std::min(best, seconds_since(start));
  }

  auto slowest = at::full({1}, best, at::kDouble);
  world.all_reduce(slowest, ReduceOp::kMax);
  return slowest.item<double>();
}

}  // namespace

StorageCost storage_cost(const RunFiles& files) {
  StorageCost cost;
  cost.checkpoint = files.value_bytes + files.config_bytes + kFileBytes +
                    files.tensors * kTensorBytes + files.optimizer_sets * kOptimizerSetBytes;
  cost.peak = cost.checkpoint * (files.validates ? 3 : 2);

  cost.logs = (kCsvLineBytes + kCsvMemberBytes * files.members) * files.epochs + kRecordFileBytes +
              2 * files.config_bytes + kHeartbeatBytes * files.ranks;
  return cost;
}

double MessageCost::all_gather(int64_t ranks, double received_bytes) const {
  if (ranks < 2) return 0;
  return static_cast<double>(ranks - 1) * latency_s + received_bytes / bytes_per_second;
}

double MessageCost::all_reduce(int64_t ranks, double bytes) const {
  if (ranks < 2) return 0;

  // A ring: reduce-scatter and all-gather, n - 1 messages of bytes / n each.
  const auto n = static_cast<double>(ranks);
  return 2 * (n - 1) * latency_s + 2 * (n - 1) / n * bytes / bytes_per_second;
}

MessageCost measure_messages(Communicator& world) {
  MessageCost cost;
  if (world.size() < 2) return cost;
  const auto ranks = static_cast<double>(world.size());
  const double small = fastest_gather(world, 1), large = fastest_gather(world, kLargeMessageValues),
               received = static_cast<double>(kLargeMessageValues * kFloatBytes) * (1 - 1 / ranks);

  // A ring of n ranks sends n - 1 messages one after another; what a large gather takes beyond a
  // small one is the transfer.
  cost.latency_s = small / (ranks - 1);
  cost.bytes_per_second = received / std::max(large - small, 1e-9);
  return cost;
}

std::optional<GridShape> fastest_grid(int64_t ranks, const GridLimits& limits,
                                      const std::function<double(const GridShape&)>& seconds) {
  std::optional<GridShape> best;
  double best_s = 0;
  for (int64_t data = 1; data <= std::min(ranks, limits.batch); ++data) {
    if (ranks % data != 0) continue;
    const int64_t per_data_part = ranks / data;
    for (int64_t members = 1; members <= std::min(per_data_part, limits.members); ++members) {
      if (per_data_part % members != 0 || per_data_part / members > limits.runs) continue;

      // Fewer data parts come first, so of equal times they stay.
      const GridShape grid{per_data_part / members, members, data};
      const double grid_s = seconds(grid);
      if (!best || grid_s < best_s) {
        best = grid;
        best_s = grid_s;
      }
    }
  }
  return best;
}

}  // namespace dissent
