#include "plan/planner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include "core/parallel.hpp"
#include "plan/coordination.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"

namespace dissent::plan {
namespace {

// What is free on the node of rank 0: all ranks must make the same decision whether a grid fits.
// Collective.
NodeResources node_resources(Communicator& world, const std::string& output) {
  const int64_t shm = path_exists("/dev/shm") ? free_bytes("/dev/shm") : 0;

  // The folder of results may not exist yet: the current one stands for its file system then.
  const int64_t disk = free_bytes(path_exists(output) ? output : ".");

  const auto first =
      values_of_first_rank(world, {static_cast<double>(available_memory_bytes()),
                                   static_cast<double>(shm), static_cast<double>(disk)});
  return {.memory_bytes = static_cast<int64_t>(first[0]),
          .shm_bytes = static_cast<int64_t>(first[1]),
          .disk_bytes = static_cast<int64_t>(first[2]),
          .cores = std::max<int64_t>(1, std::thread::hardware_concurrency())};
}

bool same_grid(const GridCost& grid, int64_t ranks, int64_t ranks_per_node,
               const GridShape& shape) {
  return grid.problem.empty() && grid.placement.ranks == ranks &&
         grid.placement.ranks_per_node == ranks_per_node && grid.shape.runs == shape.runs &&
         grid.shape.members == shape.members && grid.shape.data == shape.data;
}

}  // namespace

Planner::Planner(Communicator& world, CostModel& model, const Settings& settings)
    : world_(world), model_(model), settings_(settings) {
  const auto& experiment = model.config().experiment;
  plan_.node = node_resources(world, experiment.output);
  plan_.calibrated = settings.calibrate;
  plan_.runs = static_cast<int64_t>(experiment.seeds.size());
  measure_messages();
}

void Planner::measure_messages() {
  // One rank sends no messages: without given values the defaults of MessageCost are assumed.
  plan_.messages_measured = world_.size() > 1 && !settings_.messages;
  plan_.messages = plan_.messages_measured ? dissent::measure_messages(world_)
                                           : settings_.messages.value_or(MessageCost{});

  // Ranks measure slightly different values: all have to compare grids by the same ones.
  const auto first =
      values_of_first_rank(world_, {plan_.messages.latency_s, plan_.messages.bytes_per_second});
  plan_.messages = {first[0], first[1]};
}

Plan Planner::plan() {
  // The configuration's grid need not fit the ranks that run the plan if --ranks names others.
  auto node = world_.split_by_node();
  const std::string problem = add_own(world_.size(), node->size());
  agree(world_, [&] {
    DISSENT_CHECK(problem.empty() || !settings_.rank_counts.empty(), kUsage, "{}", problem);
  });

  for (const int64_t count : settings_.rank_counts) add_count(count);
  return std::move(plan_);
}

int64_t Planner::ranks_per_node(int64_t ranks) const {
  return std::min(ranks, settings_.ranks_per_node.value_or(ranks));
}

// The number of threads that a rank of a job would choose (apply_runtime): the configuration's,
// that of OMP_NUM_THREADS, or an equal share of the node's cores.
int64_t Planner::threads_per_rank(int64_t ranks_per_node) const {
  const auto& configured = model_.config().runtime.threads;
  if (configured) return *configured;
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (text && std::atoi(text) > 0) return std::atoi(text);
  return std::max<int64_t>(1, plan_.node.cores / ranks_per_node);
}

std::string Planner::add_own(int64_t ranks, int64_t ranks_per_node) {
  // A grid that does not fit these ranks becomes a line of the report: the other grids are still
  // worth comparing.
  GridShape shape;
  try {
    shape = resolve_grid(model_.config().grid, ranks, plan_.runs, model_.members(),
                         model_.batch_size());
  } catch (const Error& error) {
    return error.what();
  }

  add(ranks, ranks_per_node, shape);
  return "";
}

void Planner::add_count(int64_t ranks) {
  const int64_t per_node = ranks_per_node(ranks);
  if (settings_.own_grid) {
    const std::string problem = add_own(ranks, per_node);
    if (!problem.empty()) add_problem(ranks, problem);
    return;
  }

  // The grid of the configuration, for comparison, and the best one. The same grid is listed once.
  const bool shows_own = model_.compares_own_grid() && add_own(ranks, per_node).empty();

  const auto best = model_.best_grid(ranks, threads_per_rank(per_node), plan_.messages);
  if (best) return add(ranks, per_node, *best);
  if (shows_own) return;

  const auto limits = model_.limits();
  add_problem(
      ranks,
      fmt::format("more ranks than work, or no split of them: {} runs, {} networks, batch {}",
                  limits.runs, limits.members, limits.batch));
}

void Planner::add_problem(int64_t ranks, const std::string& problem) {
  GridCost grid;
  grid.placement.ranks = ranks;
  grid.problem = problem;
  plan_.grids.push_back(std::move(grid));
}

void Planner::add(int64_t ranks, int64_t ranks_per_node, const GridShape& shape) {
  for (const auto& grid : plan_.grids)
    if (same_grid(grid, ranks, ranks_per_node, shape)) return;

  const Placement placement{ranks, ranks_per_node, threads_per_rank(ranks_per_node)};
  GridCost grid = model_.cost(placement, shape, plan_.node);
  add_notes(grid);

  // Notes about the grid come before the note that it could not be measured.
  if (plan_.calibrated) measure(grid);
  plan_.grids.push_back(std::move(grid));
}

void Planner::add_notes(GridCost& grid) const {
  const auto& node = plan_.node;
  const auto& placement = grid.placement;
  const auto note = [&](std::string text) { grid.notes.push_back(std::move(text)); };

  // What the node of this plan does not have. These are notes, not errors: the training may run on
  // other nodes.
  if (grid.node_bytes() > node.memory_bytes)
    note(fmt::format("a node needs {}, this one has {} available", byte_text(grid.node_bytes()),
                     byte_text(node.memory_bytes)));
  if (placement.ranks_per_node > 1 && grid.node_data_bytes > node.shm_bytes)
    note(fmt::format("the data take {} of shared memory per node, /dev/shm has {} free here",
                     byte_text(grid.node_data_bytes), byte_text(node.shm_bytes)));
  if (placement.ranks_per_node * placement.threads_per_rank > node.cores)
    note(
        fmt::format("{} ranks x {} threads per node, this one has {} cores: the times are those "
                    "of nodes with one core per thread",
                    placement.ranks_per_node, placement.threads_per_rank, node.cores));

  // How results or costs differ from those of another grid or device.
  if (grid.shape.data > 1) note(model_.split_batch_note());
  if (model_.precision_needs_gpu())
    note(fmt::format("{} needs a GPU: this is the cost in f32 on CPUs",
                     precision_name(model_.precision())));
  if (model_.precision() == Precision::kF64)
    note("f64: this is the cost in f32; weights, messages and products take about twice as much");
}

void Planner::measure(GridCost& grid) {
  // A grid of more ranks than this world has is measured by the ranks that there are; the others do
  // the same kind of work. The decision uses values of rank 0 only, so it is the same on all ranks.
  const int64_t measuring = std::min<int64_t>(world_.size(), grid.placement.ranks);
  if (measuring * grid.rank_bytes > plan_.node.memory_bytes) {
    grid.notes.push_back("no time: its ranks do not fit in the memory of this node");
    return;
  }

  set_threads(static_cast<int>(grid.placement.threads_per_rank));
  say_planning(settings_.quiet, world_.rank(),
               fmt::format("measuring steps, ranks {}, grid {}", grid.placement.ranks,
                           shape_text(grid.shape)));

  // Ranks measure at the same time, because they share the memory bandwidth in a training too.
  world_.barrier();
  model_.measure(grid, world_.rank() < measuring, settings_.seconds, plan_.messages);
}

}  // namespace dissent::plan
