#include "train/cost/head_cost.hpp"

#include <algorithm>
#include <numeric>

#include "core/divide_up.hpp"
#include "models/linear.hpp"
#include "storage/chunk_stream.hpp"
#include "storage/h5.hpp"
#include "storage/residency.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/plan_options.hpp"
#include "train/heads/train_rows.hpp"
#include "train/heads/waves.hpp"
#include "train/run/epoch_record.hpp"

namespace dissent {
namespace {

constexpr int64_t kCountBytes = sizeof(int64_t);
constexpr int64_t kAssumedLosses = 3;     // values of an epoch's record: a bound for most trainings
constexpr int64_t kBestGridSteps = 2000;  // enough to compare grids

// Members of the largest group.
int64_t group_members(const HeadRunShape& run, int64_t parts) {
  return part_of(run.plan.members, parts, 0).count;
}

// Rows of the largest part of a step's batch.
int64_t part_rows(const HeadRunShape& run, int64_t data) {
  const int64_t labelled = part_of(run.plan.batch_size, data, 0).count;
  return run.plan.unlabelled_rows > 0 ? 2 * labelled : labelled;
}

// Seconds of a pair on one rank, at these rates.
double pair_bound_s(const HeadRunShape& run, const GridShape& grid, const MachineRates& rates) {
  // Arithmetic and memory traffic one after the other:
  //   flops / rate + bytes / bandwidth
  // per active member; each data rank computes its share of the rows, but reads all weights.
  const auto cost = head_step_cost(run, grid);
  const auto active = static_cast<double>(run.plan.active), data = static_cast<double>(grid.data);
  return cost.flops / active / data / rates.flops_per_second +
         cost.weight_bytes / active / rates.bytes_per_second;
}

int64_t gradient_bytes(const HeadRunShape& run, const GridShape& grid, int64_t pairs,
                       int64_t threads) {
  // A weight gradient is consumed block by block, one block per thread. Only clipping and a split
  // batch need whole ones, of every pair of a wave, and two more for the norm, taken in f64.
  int64_t training = threads * kWeightGradientBlock * kFloatBytes;
  if (run.whole_gradient || grid.data > 1) training += (pairs + 2) * run.flat() * kFloatBytes;
  if (run.gradient_samples == 0) return training;

  // A probe holds two gradients of each local member of a step, and both once more in f64.
  const int64_t members = std::min(run.plan.active, group_members(run, grid.members));
  return std::max(training, 2 * members * run.flat() * kFloatBytes * 3);
}

// The order of rows, and each step of an epoch: its vectors (rows, unlabelled rows, active
// members) with 16 bytes of the allocator each, and five values of its result.
int64_t plan_bytes(const HeadRunShape& run) {
  const int64_t order = kCountBytes * (run.plan.rows_per_pass + run.plan.unlabelled_rows);
  const int64_t step = static_cast<int64_t>(sizeof(Step)) +
                       kCountBytes * (run.plan.active + run.rows_per_step()) + 3 * 16 +
                       5 * kCountBytes;
  return order + steps_per_epoch(run.plan) * step;
}

int64_t validation_bytes(const HeadRunShape& run, const GridShape& grid, int64_t threads) {
  if (!run.validation) return 0;
  const int64_t members = group_members(run, grid.members), classes = run.train.classes,
                block = validation_block_rows(run.plan.members, classes);

  // Logits of the rank's members, and those of all members where they have to be gathered.
  const int64_t own = members * block * classes * kFloatBytes;
  const int64_t gathered = grid.members > 1 ? run.plan.members * block * classes * kFloatBytes : 0;

  // Three tables of the mean logits in f64, the block's features, and a forward pass per thread.
  const int64_t mean = 3 * block * classes * static_cast<int64_t>(sizeof(double));
  const int64_t features = block * run.train.dim * kFloatBytes;
  const int64_t passes =
      std::min(threads, members) * block * (run.saved_per_row + classes) * kFloatBytes;
  return own + gathered + mean + features + passes;
}

// Each parameter is made contiguous over the rank's members and read back in pieces.
int64_t checkpoint_memory_bytes(const HeadRunShape& run, int64_t members) {
  int64_t largest = 0;
  for (const auto& entry : run.head->layout().entries()) largest = std::max(largest, entry.numel);
  return members * largest * kFloatBytes + kReadBackBytes;
}

// Seconds of all simulated waves.
struct WaveSeconds {
  double compute = 0, frozen = 0;    // of the busiest group of each wave
  double working = 0;                // mean over the groups
  double gather = 0, gradients = 0;  // messages: of logits; of norms and weight gradients
};

WaveSeconds wave_seconds(const HeadRunShape& run, const GridShape& grid,
                         const WaveSimulation& waves, const HeadRankTimes& times,
                         const MessageCost& messages) {
  const int64_t ranks = grid.members * grid.data;
  const auto logits = static_cast<double>(head_step_cost(run, grid).logits_bytes),
             gathered = 1 - 1 / static_cast<double>(ranks);
  WaveSeconds seconds;
  for (const auto& wave : waves.waves) {
    // Groups meet in the gather of a wave, so each wave takes as long as its busiest group.
    double longest = 0, longest_frozen = 0, sum = 0;
    for (const int64_t pairs : wave.pairs) {
      const double group_s = times.wave_s(pairs);
      longest = std::max(longest, group_s);
      sum += group_s;
      if (run.frozen_first_epoch)
        longest_frozen = std::max(longest_frozen, times.frozen_wave_s(pairs));
    }
    seconds.compute += longest;
    seconds.frozen += longest_frozen;
    seconds.working += sum / static_cast<double>(grid.members);

    // One gather of logits per wave, one of norms where they are needed, and a sum over data ranks
    // of the weight gradient of each pair.
    seconds.gather +=
        messages.all_gather(ranks, static_cast<double>(wave.steps) * logits * gathered);
    if (run.gathers_norms)
      seconds.gradients += messages.all_gather(
          ranks, static_cast<double>(kCountBytes * wave.steps * run.plan.active));
    const auto most = static_cast<double>(*std::max_element(wave.pairs.begin(), wave.pairs.end()));
    seconds.gradients +=
        most * messages.all_reduce(grid.data, static_cast<double>(run.flat() * kFloatBytes));
  }
  return seconds;
}

// Data ranks take blocks in turn; the members' logits of each block are gathered.
double validation_exchange_s(const HeadRunShape& run, const GridShape& grid,
                             const MessageCost& messages) {
  const int64_t block = validation_block_rows(run.plan.members, run.train.classes);

  const int64_t blocks = divide_up(divide_up(run.validation->rows_per_pass, block), grid.data);
  const double bytes =
      static_cast<double>(run.plan.members * block * run.train.classes * kFloatBytes) *
      (1 - 1 / static_cast<double>(grid.members));
  return static_cast<double>(blocks) * messages.all_gather(grid.members, bytes);
}

}  // namespace

RowsShape shape_of(const CacheSpec& spec) {
  return {spec.rows_per_pass, spec.passes, spec.dim, spec.classes, spec.dtype};
}

int64_t host_bytes(const RowsShape& rows) {
  return HostResidency::bytes(rows.rows(), rows.dim, rows.dtype);
}

int64_t stream_bytes(const RowsShape& rows, int64_t chunk_rows) {
  const int64_t chunk =
      chunk_rows > 0 ? std::min(chunk_rows, rows.rows_per_pass) : rows.rows_per_pass;
  return ChunkStream::bytes(chunk, rows.dim, rows.dtype);
}

int64_t cache_bytes(const RowsShape& rows) {
  CacheSpec spec;
  spec.dim = rows.dim;
  spec.dtype = rows.dtype;
  return rows.rows() * spec.row_bytes();
}

HeadRunShape head_run_shape(const TrainConfig& config, const RowsShape& train,
                            const std::optional<RowsShape>& validation,
                            const std::optional<RowsShape>& unlabelled, int64_t config_bytes) {
  HeadRunShape run;
  run.head = make_head(config.ensemble.model, train.dim, config.ensemble.hidden, train.classes);

  // What a pass saves is counted in a pass, so a new head needs no formula here.
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

  // The plan of the first seed stands for all: only which members and rows are drawn differs.
  run.plan = plan_options(config, static_cast<uint64_t>(config.experiment.seeds.at(0)),
                          {.rows_per_pass = train.rows_per_pass,
                           .passes = train.passes,
                           .unlabelled_rows = unlabelled ? unlabelled->rows() : 0});

  run.train = train;
  run.validation = validation;
  run.unlabelled = unlabelled;
  return run;
}

HeadStepCost head_step_cost(const HeadRunShape& run, const GridShape& grid) {
  HeadStepCost cost;
  const auto active = static_cast<double>(run.plan.active),
             ranks = static_cast<double>(grid.members * grid.data),
             data = static_cast<double>(grid.data);

  const double weights = active * static_cast<double>(run.flat() * kFloatBytes);

  // Forward, input gradient and weight gradient are products of the same size.
  cost.flops = 3.0 * active * static_cast<double>(run.head->forward_flops() * run.rows_per_step());

  // Forward and backward each read the weights; the update reads and writes them and the states;
  // a whole gradient is written and read.
  const bool whole = run.whole_gradient || grid.data > 1;
  cost.weight_bytes = weights * static_cast<double>(2 + 2 * (1 + run.states) + (whole ? 2 : 0));

  // Of what is gathered a rank has its own part already. A ring of d ranks sends 2 (d - 1) / d of
  // the bytes that are summed.
  cost.logits_bytes = run.plan.active * run.rows_per_step() * run.train.classes * kFloatBytes;
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
    // One rank would take all pairs one after the other; groups wait for the busiest of them in
    // each wave.
    pairs += std::accumulate(wave.pairs.begin(), wave.pairs.end(), int64_t{0});
    longest += *std::max_element(wave.pairs.begin(), wave.pairs.end());
  }
  return static_cast<double>(pairs) / static_cast<double>(longest);
}

WaveSimulation simulate_waves(const HeadRunShape& run, int64_t parts, int64_t most) {
  std::vector<int64_t> group;  // of each member
  for (int64_t part = 0; part < parts; ++part)
    group.insert(group.end(), part_of(run.plan.members, parts, part).count, part);

  // The row numbers do not matter here, so only as many as the steps need are ordered.
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
    auto& pairs = simulation.waves.back().pairs;
    for (const int64_t s : wave)
      for (const int64_t member : steps[s].active) ++pairs[group[member]];
  }
  return simulation;
}

HeadMemoryCost head_memory_cost(const HeadRunShape& run, const GridShape& grid,
                                const WaveSimulation& waves, int64_t threads) {
  const int64_t members = group_members(run, grid.members), rows = part_rows(run, grid.data),
                pairs = waves.most_pairs(), steps = waves.most_steps();
  const int64_t own_steps = std::min(pairs, steps);
  HeadMemoryCost cost;

  cost.parameters = members * run.flat() * kFloatBytes;
  cost.optimizer = run.states * cost.parameters;

  // Batches of the widest wave; a backward pass makes the gradient of all that forward has saved.
  cost.activations = own_steps * rows * run.train.dim * kFloatBytes +
                     2 * pairs * rows * run.saved_per_row * kFloatBytes;
  cost.gradients = gradient_bytes(run, grid, pairs, threads);

  // All steps of a wave are gathered; the rank differentiates those with one of its members, as
  // many at a time as it has threads.
  cost.logits = head_step_cost(run, grid).logits_bytes *
                (steps + 2 * own_steps + kLossTemporaries * std::min(threads, own_steps));

  cost.plan = plan_bytes(run);
  cost.validation = validation_bytes(run, grid, threads);

  cost.checkpoint = checkpoint_memory_bytes(run, members);
  return cost;
}

DataCost data_cost(const HeadRunShape& run, const CacheDataOptions& options, int64_t runs_on_node,
                   int64_t available_bytes) {
  DataCost cost;
  const int64_t host = host_bytes(run.train);
  cost.stream = options.residency == Residency::kStream ||
                (options.residency == Residency::kAuto && options.chunk_rows > 0 &&
                 host > most_resident_bytes(available_bytes));

  // Resident rows are shared by all runs of a node; a stream has its buffers for each run.
  cost.node_bytes = cost.stream ? runs_on_node * stream_bytes(run.train, options.chunk_rows) : host;

  // Validation reads the first pass alone.
  if (run.validation) {
    auto one_pass = *run.validation;
    one_pass.passes = 1;
    cost.node_bytes += host_bytes(one_pass);
  }
  if (run.unlabelled) cost.node_bytes += host_bytes(*run.unlabelled);
  return cost;
}

StorageCost head_storage_cost(const HeadRunShape& run, int64_t ranks) {
  // A checkpoint holds weights and states of each member, its step count, and a record per epoch.
  const auto& layout = run.head->layout();
  const int64_t copies = 1 + run.states,
                member = layout.parameter_count() * copies * kFloatBytes + kCountBytes,
                record =
                    kRecordNumbers + kAssumedLosses + kRecordNumbersPerMember * run.plan.members;
  return storage_cost({.value_bytes = run.plan.members * member +
                                      run.epochs * record * static_cast<int64_t>(sizeof(double)),
                       .tensors = static_cast<int64_t>(layout.entries().size()) * copies,
                       .optimizer_sets = run.states,
                       .config_bytes = run.config_bytes,
                       .members = run.plan.members,
                       .epochs = run.epochs,
                       .ranks = ranks,
                       .validates = run.validation.has_value()});
}

HeadTimeCost head_time_cost(const HeadRunShape& run, const GridShape& grid, int64_t runs,
                            const WaveSimulation& waves, const HeadRankTimes& times,
                            const MessageCost& messages) {
  const auto seconds = wave_seconds(run, grid, waves, times, messages);
  const auto simulated = static_cast<double>(waves.steps),
             steps = static_cast<double>(steps_per_epoch(run.plan));

  HeadTimeCost cost;
  cost.exchange_s = (seconds.gather + seconds.gradients) / simulated;
  cost.step_s = seconds.compute / simulated + cost.exchange_s;
  cost.busy = seconds.working / (seconds.compute + seconds.gather + seconds.gradients);
  if (run.validation)
    cost.validation_s = times.validation_s + validation_exchange_s(run, grid, messages);

  // A frozen epoch computes losses only: no update, no gradients to send, no probes.
  const double epoch_s = steps * cost.step_s + times.plan_s + times.probe_s + cost.validation_s;
  const double frozen_epoch_s =
      steps * (seconds.frozen + seconds.gather) / simulated + times.plan_s + cost.validation_s;
  const double run_s = static_cast<double>(run.updating_epochs()) * epoch_s +
                       (run.frozen_first_epoch ? frozen_epoch_s : 0);

  cost.epoch_s = epoch_s;
  cost.run_s = run_s;
  cost.total_s = run_s * static_cast<double>(rounds_of_runs(runs, grid));
  return cost;
}

double step_bound_s(const HeadRunShape& run, const GridShape& grid, const MachineRates& rates) {
  return pair_bound_s(run, grid, rates) * static_cast<double>(run.plan.active) /
         static_cast<double>(grid.members);
}

std::optional<GridShape> best_head_grid(const HeadRunShape& run, int64_t ranks, int64_t runs,
                                        const MachineRates& rates, const MessageCost& messages) {
  // Candidates are compared without measuring each: a pair takes the time that the machine's rates
  // allow, and waves are those of the plan.
  const GridLimits limits{runs, run.plan.members, run.plan.batch_size};
  return fastest_grid(ranks, limits, [&](const GridShape& grid) {
    const double pair_s = pair_bound_s(run, grid, rates);
    const auto linear = [&](int64_t pairs) { return static_cast<double>(pairs) * pair_s; };
    const auto waves = simulate_waves(run, grid.members, kBestGridSteps);
    return *head_time_cost(run, grid, runs, waves, {linear, linear, 0, 0, 0}, messages).total_s;
  });
}

}  // namespace dissent
