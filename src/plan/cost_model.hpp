#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "train/config/common_config.hpp"
#include "train/cost/shared_costs.hpp"

namespace dissent::plan {

using Json = nlohmann::ordered_json;
using Cells = std::vector<std::string>;

/// What is free on this node.
struct NodeResources {
  int64_t memory_bytes = 0, shm_bytes = 0, disk_bytes = 0;
  int64_t cores = 1;
};

/// Where the ranks of a grid run.
struct Placement {
  int64_t ranks = 1, ranks_per_node = 1, threads_per_rank = 1;
};

/// What a training costs on one grid. Bytes of memory, seconds.
struct GridCost {
  Placement placement = {};
  std::string problem = {};  ///< why there is no such grid; the rest is empty then
  GridShape shape = {};
  int64_t rank_bytes = 0;       ///< of a process at its peak
  int64_t node_data_bytes = 0;  ///< of the data that the ranks of a node share
  StorageCost storage = {};
  std::optional<TimeCost> time = {};  ///< nothing without calibration
  std::vector<std::string> notes = {};

  // Values of the kind of training. For the JSON report: parts of the memory, further sections,
  // further times.
  Json memory = Json::object(), sections = Json::object(), times = Json::object();
  // For the tables, below the headings of the model.
  Cells memory_cells = {}, message_cells = {}, time_cells = {};

  int64_t node_bytes() const { return placement.ranks_per_node * rank_bytes + node_data_bytes; }
};

/// A table of the report, in addition to the columns that all models have.
struct TableText {
  std::string caption;  ///< continues the heading line
  Cells headings;
  std::string explanation;  ///< lines below the table
};

/// One kind of training (heads on caches, networks on images) as `dissent plan` sees it. The
/// planner (plan/planner.hpp) chooses the grids that are compared and the report (plan/report.hpp)
/// prints them; a model describes what a run computes and what it costs on one grid. A new kind of
/// training adds a model.
class CostModel {
 public:
  virtual ~CostModel() = default;

  // What a run computes.
  virtual const CommonTrainConfig& config() const = 0;
  virtual int64_t members() const = 0;
  /// Rows or images of a member's batch, over all data ranks.
  virtual int64_t batch_size() const = 0;
  virtual Precision precision() const = 0;
  /// The precision is for GPUs: costs are those of f32 on CPUs.
  virtual bool precision_needs_gpu() const = 0;
  /// Whether there is a validation set, and so a file best.h5.
  virtual bool validates() const = 0;
  /// Lines of the report about model, steps and data.
  virtual std::string run_text() const = 0;
  /// Adds the same to the report as JSON.
  virtual void add_run_json(Json& json) const = 0;

  // Grids.
  /// Largest numbers of parts that a grid can have: runs, networks, rows of a batch.
  virtual GridLimits limits() const = 0;
  /// The fastest grid that uses all `ranks`, from rates and sizes, the same on all ranks; nothing
  /// if no grid does. Collective.
  virtual std::optional<GridShape> best_grid(int64_t ranks, int64_t threads_per_rank,
                                             const MessageCost& messages) = 0;
  /// Whether --ranks shows the configuration's own grid next to the fastest one.
  virtual bool compares_own_grid() const { return false; }

  // One grid.
  /// Memory, storage and messages of a run on this grid; `time` stays empty. Collective.
  virtual GridCost cost(const Placement& placement, const GridShape& shape,
                        const NodeResources& node) = 0;
  /// Runs this rank's share of real steps for about `seconds` if `measures`, and sets the times of
  /// `grid` from the mean over the ranks that measured. Collective, also for ranks that do not
  /// measure.
  virtual void measure(GridCost& grid, bool measures, double seconds,
                       const MessageCost& messages) = 0;
  /// How results on a grid with several data ranks differ from those on other grids.
  virtual std::string split_batch_note() const;

  // The report.
  /// Captions, headings and explanations for the cells of GridCost.
  virtual TableText memory_table() const = 0;
  virtual TableText message_table() const = 0;
  virtual TableText time_table() const = 0;
  /// Lines about one step of the first grid.
  virtual std::string step_text(const GridCost& first) const = 0;
};

/// A mean number of bytes, rounded down: "3.2 GiB".
std::string mean_bytes_text(double bytes);
/// "3.2 ms", "12.0 min".
std::string seconds_text(double seconds);
/// "1 x 4 x 2": runs x members x data.
std::string shape_text(const GridShape& shape);

}  // namespace dissent::plan
