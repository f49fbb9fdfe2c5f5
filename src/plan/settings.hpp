#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/cost/shared_costs.hpp"

namespace dissent::plan {

/// What `dissent plan` compares and measures.
struct Settings {
  std::vector<int64_t> rank_counts;  ///< --ranks
  bool own_grid = false;             ///< the configuration's grid for each, not the fastest one
  std::optional<int64_t> ranks_per_node;  ///< nothing: all on one node
  bool calibrate = true;                  ///< measure steps; else the report has no times
  double seconds = 2;                     ///< per measurement
  bool quiet = false;                     ///< no progress on stderr
  std::optional<MessageCost> messages;    ///< nothing: measured between the ranks
};

/// Sizes of data that do not exist yet: --rows, --dim, --classes, --passes, --validation-rows,
/// --unlabelled-rows and --dtype of the verb. Sets that exist have their own.
struct AssumedSizes {
  std::optional<int64_t> rows, dim, classes, passes, validation_rows, unlabelled_rows;
  std::optional<std::string> dtype;
};

}  // namespace dissent::plan
