#include "plan/head_cost_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "plan/coordination.hpp"
#include "storage/atomic_file.hpp"
#include "train/cost/head_calibration.hpp"

namespace dissent::plan {
namespace {

// Rates per thread where nothing is measured.
constexpr MachineRates kAssumedRates{80e9, 30e9};

// Runs with ranks on one node: each has a stream of its own there.
int64_t runs_on_node(const Placement& placement, const GridShape& shape) {
  // A run whose ranks fill several nodes has a stream on each of them, and a node counts it once.
  const int64_t per_run = std::min(shape.members * shape.data, placement.ranks_per_node);
  return divide_up(placement.ranks_per_node, per_run);
}

Json memory_json(const HeadMemoryCost& memory, const DataCost& data) {
  return {{"parameters", memory.parameters},
          {"optimizer", memory.optimizer},
          {"activations", memory.activations},
          {"gradients", memory.gradients},
          {"logits", memory.logits},
          {"plan", memory.plan},
          {"validation", memory.validation},
          {"checkpoint", memory.checkpoint},
          {"residency", data.stream ? "stream" : "host"}};
}

Cells memory_cells(const HeadMemoryCost& memory) {
  Cells cells;

  // Validation and the checkpoint come one after the other, and their memory is freed in between:
  // the larger one counts.
  for (const int64_t part :
       {memory.parameters, memory.optimizer, memory.activations, memory.gradients, memory.logits,
        memory.plan, std::max(memory.validation, memory.checkpoint)})
    cells.push_back(byte_text(part));
  return cells;
}

}  // namespace

HeadCostModel::HeadCostModel(Communicator& world, const TrainConfig& config,
                             const HeadShapes& shapes, const Settings& settings,
                             int64_t config_bytes)
    : world_(world),
      config_(config),
      settings_(settings),
      run_(
          head_run_shape(config, shapes.train, shapes.validation, shapes.unlabelled, config_bytes)),
      data_text_(shapes.text) {}

std::string HeadCostModel::model_text() const {
  return fmt::format("{} members ({}, {} parameters each), {} active per step, batch {}{}, {}",
                     run_.plan.members, config_.ensemble.model,
                     run_.head->layout().parameter_count(), run_.plan.active, run_.plan.batch_size,
                     run_.unlabelled ? " and as many unlabelled rows" : "",
                     optimizer_name(config_.optimizer.kind));
}

std::string HeadCostModel::run_text() const {
  return fmt::format("{}: {}\n  steps per epoch {}, epochs {}{}, runs {}\n{}",
                     config_.experiment.experiment, model_text(), steps_per_epoch(run_.plan),
                     run_.epochs, run_.frozen_first_epoch ? " (the first without updates)" : "",
                     runs(), data_text_);
}

void HeadCostModel::add_run_json(Json& json) const {
  // What decides the cost, so that a report can be read without its configuration.
  json["model"] = model_text();
  json["members"] = run_.plan.members;
  json["active"] = run_.plan.active;
  json["batch_size"] = run_.plan.batch_size;
  json["parameters_per_member"] = run_.head->layout().parameter_count();
  json["steps_per_epoch"] = steps_per_epoch(run_.plan);
  json["epochs"] = run_.epochs;
  json["runs"] = runs();

  json["train"] = {{"rows_per_pass", run_.train.rows_per_pass},
                   {"passes", run_.train.passes},
                   {"dim", run_.train.dim},
                   {"classes", run_.train.classes},
                   {"cache_bytes", cache_bytes(run_.train)}};
}

GridLimits HeadCostModel::limits() const {
  return {runs(), run_.plan.members, run_.plan.batch_size};
}

std::optional<GridShape> HeadCostModel::best_grid(int64_t ranks, int64_t threads_per_rank,
                                                  const MessageCost& messages) {
  return best_head_grid(run_, ranks, runs(), rates(threads_per_rank), messages);
}

const WaveSimulation& HeadCostModel::waves(int64_t parts) {
  // Simulated once for each number of member groups: many grids have the same one.
  const auto known = waves_.find(parts);
  if (known != waves_.end()) return known->second;
  return waves_.emplace(parts, simulate_waves(run_, parts)).first->second;
}

const MachineRates& HeadCostModel::rates(int64_t threads) {
  const auto known = rates_.find(threads);
  if (known != rates_.end()) return known->second;

  // Assumed: rates grow with the number of threads, which is too good for memory.
  const auto team = static_cast<double>(threads);
  MachineRates rates{kAssumedRates.flops_per_second * team, kAssumedRates.bytes_per_second * team};

  // Measured once for each number of threads; several grids have the same one.
  if (settings_.calibrate) {
    set_threads(static_cast<int>(threads));
    say_planning(
        settings_.quiet, world_.rank(),
        fmt::format("measuring matrix products and memory bandwidth, threads {}", threads));

    // Rank 0 measures alone: the bound is that of an otherwise idle machine.
    if (world_.rank() == 0) rates = machine_rates(run_, {});

    const auto first =
        values_of_first_rank(world_, {rates.flops_per_second, rates.bytes_per_second});
    rates = {first[0], first[1]};
  }
  return rates_.emplace(threads, rates).first->second;
}

GridCost HeadCostModel::cost(const Placement& placement, const GridShape& shape,
                             const NodeResources& node) {
  // Waves decide how many pairs a rank holds at a time, so memory needs the simulation too.
  const auto& simulated = waves(shape.members);
  const auto memory = head_memory_cost(run_, shape, simulated, placement.threads_per_rank);
  const auto data =
      data_cost(run_, config_.data, runs_on_node(placement, shape), node.memory_bytes);

  // The report explains the bound by the rates of its first line.
  const auto step = head_step_cost(run_, shape);
  const auto machine = rates(placement.threads_per_rank);
  if (!first_rates_) first_rates_ = machine;

  GridCost grid{.placement = placement, .shape = shape};
  grid.rank_bytes = memory.rank();
  grid.node_data_bytes = data.node_bytes;

  grid.storage = head_storage_cost(run_, shape.members * shape.data);
  grid.memory = memory_json(memory, data);
  grid.memory_cells = memory_cells(memory);

  // Without a measurement the rates are assumed, and with them the bound.
  grid.sections["step"] = {{"flops", step.flops},
                           {"weight_bytes", step.weight_bytes},
                           {"logits_bytes", step.logits_bytes},
                           {"gather_bytes", step.gather_bytes},
                           {"reduce_bytes", step.reduce_bytes},
                           {"bound_s", step_bound_s(run_, shape, machine)}};
  grid.sections["waves"] = {{"mean_width", simulated.mean_width()},
                            {"speed_up", simulated.speed_up()}};
  grid.sections["rates"] = {{"flops_per_second", machine.flops_per_second},
                            {"bytes_per_second", machine.bytes_per_second}};

  grid.message_cells = {mean_bytes_text(step.gather_bytes), mean_bytes_text(step.reduce_bytes),
                        mean_bytes_text(step.weight_bytes),
                        fmt::format("{:.2f}", simulated.mean_width()),
                        fmt::format("{:.2f}", simulated.speed_up())};
  return grid;
}

void HeadCostModel::measure(GridCost& grid, bool measures, double seconds,
                            const MessageCost& messages) {
  // Each rank measures as another member group, since groups have different pairs in a wave. With
  // fewer ranks than groups only the first groups are measured.
  HeadCalibration own;
  if (measures)
    own = calibrate_heads(config_, run_, grid.shape, world_.rank() % grid.shape.members, seconds);

  // Collective: ranks that do not measure take part with an empty calibration.
  const auto merged = merge(world_, own, run_.plan.members);
  const auto time = head_time_cost(run_, grid.shape, runs(), waves(grid.shape.members),
                                   rank_times(merged), messages);

  // How far the step is from what the machine could do at best.
  const double bound = step_bound_s(run_, grid.shape, rates(grid.placement.threads_per_rank));

  grid.time = time;
  grid.times = {{"busy", time.busy}};
  grid.time_cells = {fmt::format("{:.0f} %", 100 * time.busy), seconds_text(bound),
                     fmt::format("{:.2f}", time.step_s / bound)};
}

TableText HeadCostModel::memory_table() const {
  return {"`then` is the larger of validation and checkpoint",
          {"parameters", "optimiser", "activations", "gradients", "logits", "plan", "then"},
          ""};
}

TableText HeadCostModel::message_table() const {
  return {fmt::format("mean messages per rank, least memory traffic per data part, and waves of "
                      "steps that share no member (look-ahead {})",
                      run_.look_ahead),
          {"logits received", "gradients sent", "weights and states", "steps per wave",
           "simulated speed-up"},
          ""};
}

TableText HeadCostModel::time_table() const {
  TableText table{"", {"busy", "bound", "times bound"}, ""};
  table.explanation =
      "  model: a wave takes as long as its busiest member group, measured here, and its messages. "
      "Not included: loading data, writing checkpoints,\n"
      "  ranks that wait for each other because of noise. Ranks on other nodes are assumed to have "
      "cores of the same kind.\n";

  // The bound is a lower limit from products and memory alone: `times bound` says how far the
  // program is from it.
  if (first_rates_)
    table.explanation += fmt::format(
        "  bound: matrix products at {:.3g} GFLOP/s and memory at {:.3g} GB/s per rank (first "
        "line; "
        "measured), shared evenly by the ranks\n",
        first_rates_->flops_per_second * 1e-9, first_rates_->bytes_per_second * 1e-9);
  return table;
}

std::string HeadCostModel::step_text(const GridCost& first) const {
  const auto step = head_step_cost(run_, first.shape);
  return fmt::format("  per step: {:.4g} GFLOP of matrix products, {} of logits\n",
                     step.flops * 1e-9, byte_text(step.logits_bytes));
}

}  // namespace dissent::plan
