#include "train/cost/head_cost.hpp"

#include "train/cost/cost_constants.hpp"

#include <algorithm>
#include <numeric>

#include "train/heads/gradient_probe.hpp"
#include "train/heads/plan_options.hpp"
#include "train/heads/waves.hpp"

namespace dissent {
namespace {

constexpr int64_t kLossTemporaries =
    6;  // tensors like the logits that the losses and their derivative hold at a time
constexpr int64_t kUpdateBlockBytes = int64_t{384}
                                      << 10;  // of a weight gradient, a thread (models/linear.cpp)
constexpr int64_t kRecordValues =
    12;  // of an epoch, and three a member (EpochRecord in train/heads/head_engine.hpp)

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t pass_chunk(const RowsShape& rows, int64_t chunk_rows) {
  return chunk_rows > 0 ? std::min(chunk_rows, rows.rows_per_pass) : rows.rows_per_pass;
}

// Members of the largest group.
int64_t group_members(const RunShape& run, int64_t parts) {
  return part_of(run.plan.members, parts, 0).count;
}

// Rows of the largest part of a step's batch.
int64_t part_rows(const RunShape& run, int64_t data) {
  const int64_t labelled = part_of(run.plan.batch_size, data, 0).count;
  return run.plan.unlabelled_rows > 0 ? 2 * labelled : labelled;
}

// Seconds of a pair on one rank, at these rates.
double pair_bound_s(const RunShape& run, const GridShape& grid, const MachineRates& rates) {
  const auto cost = step_cost(run, grid);
  const auto active = static_cast<double>(run.plan.active), data = static_cast<double>(grid.data);
  return cost.flops / active / data / rates.flops_per_second +
         cost.weight_bytes / active / rates.bytes_per_second;
}

}  // namespace

int64_t host_bytes(const RowsShape& rows) {
  return aligned(rows.rows() * rows.dim * rows.element_bytes) + 2 * aligned(rows.rows() * 8);
}

int64_t stream_bytes(const RowsShape& rows, int64_t chunk_rows) {
  return 2 * pass_chunk(rows, chunk_rows) * (rows.dim * rows.element_bytes + 8);
}

int64_t cache_bytes(const RowsShape& rows) {
  return rows.rows() * (rows.dim * rows.element_bytes + 4 + 8);
}

RunShape run_shape(const TrainConfig& config, const RowsShape& train,
                   const std::optional<RowsShape>& validation,
                   const std::optional<RowsShape>& unlabelled, int64_t config_bytes) {
  RunShape run;
  run.head = make_head(config.ensemble.model, train.dim, config.ensemble.hidden, train.classes);
  std::vector<at::Tensor> saved;
  run.head->forward(at::zeros({run.flat()}), at::zeros({1, train.dim}), &saved);
  for (const auto& tensor : saved) run.saved_per_row += tensor.numel();
  run.states = optimizer_states(config.optimizer);
  run.whole_gradient = config.training.clip_norm > 0;
  run.gathers_norms = run.whole_gradient || config.training.on_nan == OnNan::kSkipStep;
  run.epochs = config.training.epochs;
  run.frozen_first_epoch = config.training.frozen_first_epoch;
  run.look_ahead = config.training.look_ahead;
  run.gradient_samples =
      has_both_kinds(objective_options(config)) ? config.training.gradient_samples : 0;
  run.config_bytes = config_bytes;
  run.plan = plan_options(config, static_cast<uint64_t>(config.experiment.seeds.at(0)),
                          {.rows_per_pass = train.rows_per_pass,
                           .passes = train.passes,
                           .unlabelled_rows = unlabelled ? unlabelled->rows() : 0});
  run.train = train;
  run.validation = validation;
  run.unlabelled = unlabelled;
  return run;
}

StepCost step_cost(const RunShape& run, const GridShape& grid) {
  StepCost cost;
  const auto active = static_cast<double>(run.plan.active),
             ranks = static_cast<double>(grid.members * grid.data),
             data = static_cast<double>(grid.data);
  const double weights = active * static_cast<double>(run.flat() * kFloatBytes);
  cost.flops = 3.0 * active * static_cast<double>(run.head->forward_flops() * run.rows_a_step());
  const bool whole = run.whole_gradient || grid.data > 1;
  cost.weight_bytes = weights * static_cast<double>(2 + 2 * (1 + run.states) + (whole ? 2 : 0));
  cost.logits_bytes = run.plan.active * run.rows_a_step() * run.train.classes * kFloatBytes;
  cost.gather_bytes = static_cast<double>(cost.logits_bytes) * (1 - 1 / ranks);
  cost.reduce_bytes = weights / static_cast<double>(grid.members) * 2 * (data - 1) / data;
  return cost;
}

int64_t WaveSimulation::most_pairs() const {
  int64_t most = 0;
  for (const auto& wave : waves)
    most = std::max(most, *std::max_element(wave.pairs.begin(), wave.pairs.end()));
  return most;
}

int64_t WaveSimulation::most_steps() const {
  int64_t most = 0;
  for (const auto& wave : waves) most = std::max(most, wave.steps);
  return most;
}

double WaveSimulation::speed_up() const {
  int64_t pairs = 0, longest = 0;
  for (const auto& wave : waves) {
    pairs += std::accumulate(wave.pairs.begin(), wave.pairs.end(), int64_t{0});
    longest += *std::max_element(wave.pairs.begin(), wave.pairs.end());
  }
  return static_cast<double>(pairs) / static_cast<double>(longest);
}

WaveSimulation simulate_waves(const RunShape& run, int64_t parts, int64_t most) {
  std::vector<int64_t> group;  // of each member
  for (int64_t g = 0; g < parts; ++g)
    group.insert(group.end(), part_of(run.plan.members, parts, g).count, g);
  // Rows do not matter: only as many as the steps need are put in order.
  PlanOptions options = run.plan;
  options.rows_per_pass = std::min(options.rows_per_pass, most * options.batch_size);
  options.unlabelled_rows = 0;
  const EpochPlan plan(options, 0);
  std::vector<Step> steps;
  for (int64_t s = 0; s < std::min(most, plan.steps()); ++s) steps.push_back(plan.step(s));
  WaveSimulation simulation;
  simulation.steps = static_cast<int64_t>(steps.size());
  for (const auto& wave : make_waves(steps, run.look_ahead)) {
    simulation.waves.push_back({static_cast<int64_t>(wave.size()), std::vector<int64_t>(parts, 0)});
    for (const int64_t s : wave)
      for (const int64_t member : steps[s].active) ++simulation.waves.back().pairs[group[member]];
  }
  return simulation;
}

MemoryCost memory_cost(const RunShape& run, const GridShape& grid, const WaveSimulation& waves,
                       int64_t threads) {
  const int64_t members = group_members(run, grid.members), rows = part_rows(run, grid.data),
                pairs = waves.most_pairs(), steps = waves.most_steps();
  const int64_t own_steps = std::min(pairs, steps), logits = step_cost(run, grid).logits_bytes,
                plan_steps = steps_per_epoch(run.plan);
  MemoryCost cost;
  cost.parameters = members * run.flat() * kFloatBytes;
  cost.optimizer = run.states * cost.parameters;
  cost.activations = own_steps * rows * run.train.dim * kFloatBytes +
                     2 * pairs * rows * run.saved_per_row * kFloatBytes;
  cost.gradients = threads * kUpdateBlockBytes;
  if (run.whole_gradient || grid.data > 1)
    cost.gradients += (pairs + 2) * run.flat() * kFloatBytes;  // the norm is taken in f64
  // Two gradients of each local member of a step, and both once more in f64.
  const int64_t probed = run.gradient_samples > 0
                             ? 2 * std::min(run.plan.active, members) * run.flat() * kFloatBytes * 3
                             : 0;
  cost.gradients = std::max(cost.gradients, probed);
  cost.logits = logits * (steps + 2 * own_steps + kLossTemporaries * std::min(threads, own_steps));
  const int64_t step_bytes = static_cast<int64_t>(sizeof(Step)) +
                             8 * (run.plan.active + run.rows_a_step()) + 3 * 16 + 5 * 8;
  cost.plan = 8 * (run.plan.rows_per_pass + run.plan.unlabelled_rows) + plan_steps * step_bytes;
  if (run.validation) {
    const int64_t block = validation_block_rows(run.plan.members, run.train.classes),
                  own = members * block * run.train.classes * kFloatBytes;
    cost.validation =
        own + (grid.members > 1 ? run.plan.members * block * run.train.classes * kFloatBytes : 0) +
        3 * block * run.train.classes * 8 + block * run.train.dim * kFloatBytes +
        std::min(threads, members) * block * (run.saved_per_row + run.train.classes) * kFloatBytes;
  }
  int64_t largest = 0;
  for (const auto& entry : run.head->layout().entries()) largest = std::max(largest, entry.numel);
  cost.checkpoint = members * largest * kFloatBytes + kCheckBytes;
  return cost;
}

DataCost data_cost(const RunShape& run, const CacheDataOptions& options, int64_t runs_on_node,
                   int64_t available_bytes) {
  DataCost cost;
  const int64_t host = host_bytes(run.train);
  cost.stream = options.residency == Residency::kStream ||
                (options.residency == Residency::kAuto && options.chunk_rows > 0 &&
                 host > available_bytes / 4 * 3);
  cost.node_bytes = cost.stream ? runs_on_node * stream_bytes(run.train, options.chunk_rows) : host;
  if (run.validation) {
    auto one_pass = *run.validation;
    one_pass.passes = 1;
    cost.node_bytes += host_bytes(one_pass);
  }
  if (run.unlabelled) cost.node_bytes += host_bytes(*run.unlabelled);
  return cost;
}

StorageCost storage_cost(const RunShape& run, int64_t ranks) {
  const auto& layout = run.head->layout();
  const int64_t tensors = static_cast<int64_t>(layout.entries().size()) * (1 + run.states);
  StorageCost cost;
  cost.checkpoint =
      run.plan.members * (layout.parameter_count() * (1 + run.states) * kFloatBytes + 8) +
      run.epochs * (kRecordValues + 3 * run.plan.members) * 8 + run.config_bytes + kFileBytes +
      tensors * kParameterBytes + run.states * kStateBytes;
  cost.peak = cost.checkpoint * (run.validation ? 3 : 2);
  cost.logs =
      (256 + 60 * run.plan.members) * run.epochs + 4096 + 2 * run.config_bytes + 256 * ranks;
  return cost;
}

double MessageCost::all_gather(int64_t ranks, double received_bytes) const {
  return ranks < 2 ? 0
                   : static_cast<double>(ranks - 1) * latency_s + received_bytes / bytes_per_second;
}

double MessageCost::all_reduce(int64_t ranks, double bytes) const {
  const auto n = static_cast<double>(ranks);
  return ranks < 2 ? 0 : 2 * (n - 1) * latency_s + 2 * (n - 1) / n * bytes / bytes_per_second;
}

TimeCost time_cost(const RunShape& run, const GridShape& grid, int64_t runs,
                   const WaveSimulation& waves, const RankTimes& times,
                   const MessageCost& messages) {
  const int64_t ranks = grid.members * grid.data, steps = steps_per_epoch(run.plan);
  const auto logits = static_cast<double>(step_cost(run, grid).logits_bytes),
             gathered = 1 - 1 / static_cast<double>(ranks);
  double compute = 0, frozen = 0, gather = 0, rest = 0, working = 0;
  for (const auto& wave : waves.waves) {
    double longest = 0, longest_frozen = 0, sum = 0;
    for (const int64_t pairs : wave.pairs) {
      const double seconds = times.wave_s(pairs);
      longest = std::max(longest, seconds);
      sum += seconds;
      if (run.frozen_first_epoch)
        longest_frozen = std::max(longest_frozen, times.frozen_wave_s(pairs));
    }
    compute += longest;
    frozen += longest_frozen;
    working += sum / static_cast<double>(grid.members);
    gather += messages.all_gather(ranks, static_cast<double>(wave.steps) * logits * gathered);
    if (run.gathers_norms)
      rest += messages.all_gather(ranks, static_cast<double>(8 * wave.steps * run.plan.active));
    rest += static_cast<double>(*std::max_element(wave.pairs.begin(), wave.pairs.end())) *
            messages.all_reduce(grid.data, static_cast<double>(run.flat() * kFloatBytes));
  }
  const auto looked_at = static_cast<double>(waves.steps);
  TimeCost cost;
  cost.exchange_s = (gather + rest) / looked_at;
  cost.step_s = compute / looked_at + cost.exchange_s;
  cost.busy = working / (compute + gather + rest);
  if (run.validation) {
    const int64_t block = validation_block_rows(run.plan.members, run.train.classes),
                  blocks = ((run.validation->rows_per_pass + block - 1) / block + grid.data - 1) /
                           grid.data;
    const double bytes =
        static_cast<double>(run.plan.members * block * run.train.classes * kFloatBytes) *
        (1 - 1 / static_cast<double>(grid.members));
    cost.validation_s =
        times.validation_s + static_cast<double>(blocks) * messages.all_gather(grid.members, bytes);
  }
  cost.epoch_s =
      static_cast<double>(steps) * cost.step_s + times.plan_s + times.probe_s + cost.validation_s;
  const double frozen_epoch_s =
      static_cast<double>(steps) * (frozen + gather) / looked_at + times.plan_s + cost.validation_s;
  cost.run_s = static_cast<double>(run.updating_epochs()) * cost.epoch_s +
               (run.frozen_first_epoch ? frozen_epoch_s : 0);
  cost.total_s = cost.run_s * static_cast<double>((runs + grid.runs - 1) / grid.runs);
  return cost;
}

double step_bound_s(const RunShape& run, const GridShape& grid, const MachineRates& rates) {
  return pair_bound_s(run, grid, rates) * static_cast<double>(run.plan.active) /
         static_cast<double>(grid.members);
}

std::optional<GridShape> best_grid(const RunShape& run, int64_t ranks, int64_t runs,
                                   const MachineRates& rates, const MessageCost& messages) {
  std::optional<GridShape> best;
  double best_s = 0;
  for (int64_t data = 1; data <= std::min(ranks, run.plan.batch_size); ++data)
    for (int64_t members = 1;
         ranks % data == 0 && members <= std::min(ranks / data, run.plan.members); ++members) {
      if (ranks / data % members != 0 || ranks / data / members > runs) continue;
      const GridShape grid{ranks / data / members, members, data};
      const double pair_s = pair_bound_s(run, grid, rates);
      const auto linear = [&](int64_t pairs) { return static_cast<double>(pairs) * pair_s; };
      const double seconds = time_cost(run, grid, runs, simulate_waves(run, members, 2000),
                                       {linear, linear, 0, 0, 0}, messages)
                                 .total_s;
      if (!best || seconds < best_s) {
        best = grid;
        best_s = seconds;
      }
    }
  return best;
}

}  // namespace dissent
