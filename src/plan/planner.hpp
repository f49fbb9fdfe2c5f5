#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "plan/cost_model.hpp"
#include "plan/settings.hpp"

namespace dissent::plan {

/// The grids that are compared, with what they have in common.
struct Plan {
  NodeResources node;
  MessageCost messages;
  bool messages_measured = false;
  bool calibrated = false;
  int64_t runs = 1;
  std::vector<GridCost> grids;
};

/// Compares grids of one training:
///   HeadCostModel model(world, config, shapes, settings, bytes);
///   const Plan plan = Planner(world, model, settings).plan();
///   fmt::print("{}", report_text(model, plan));
class Planner {
 public:
  /// All three have to outlive the planner. Collective.
  Planner(Communicator& world, CostModel& model, const Settings& settings);

  /// The configuration's own grid on the ranks of this world, then for each number in
  /// settings.rank_counts the fastest grid (or the configuration's, see Settings::own_grid); a grid
  /// that occurs twice is listed once. Error::kUsage if the own grid does not fit and there are no
  /// others. To be called once. Collective.
  Plan plan();

 private:
  void measure_messages();
  int64_t ranks_per_node(int64_t ranks) const;
  int64_t threads_per_rank(int64_t ranks_per_node) const;

  /// The problem of the configuration's grid on so many ranks; "" if it was added.
  std::string add_own(int64_t ranks, int64_t ranks_per_node);
  void add_count(int64_t ranks);
  void add_problem(int64_t ranks, const std::string& problem);
  void add(int64_t ranks, int64_t ranks_per_node, const GridShape& shape);
  void add_notes(GridCost& grid) const;
  void measure(GridCost& grid);

  Communicator& world_;
  CostModel& model_;
  const Settings& settings_;
  Plan plan_;
};

}  // namespace dissent::plan
