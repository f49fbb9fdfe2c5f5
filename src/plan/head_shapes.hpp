#pragma once
#include <optional>
#include <string>

#include "plan/settings.hpp"
#include "train/cost/head_cost.hpp"

namespace dissent::plan {

/// Shapes of the caches of a training.
struct HeadShapes {
  RowsShape train;
  std::optional<RowsShape> validation, unlabelled;
  std::string text;  ///< lines of the report
};

/// Reads the shapes from the caches' manifests; `sizes` gives those of caches that do not exist
/// yet. Error::kUsage for a size that is missing or not used, Error::kData for a manifest that is
/// damaged, a subset that leaves no rows, caches without labels or with different numbers of
/// features. Not collective.
HeadShapes read_head_shapes(const CacheDataOptions& options, const AssumedSizes& sizes);

}  // namespace dissent::plan
