#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/feature_cache.hpp"

namespace dissent {

/// Rows [first, first + count) of a cache.
struct RowRange {
  int64_t first = 0;
  int64_t count = 0;
};

/// The selected rows of a cache: ascending, disjoint ranges with the same number of rows in each
/// pass.
struct RowSelection {
  std::vector<RowRange> ranges;
  int64_t passes = 0;
  int64_t rows_per_pass = 0;
  int64_t rows() const { return passes * rows_per_pass; }
};

/// A list of positions in the source set (values of `index`) to select or, with `complement`, to
/// exclude.
struct RowSubset {
  std::vector<int64_t> positions;
  bool complement = false;
  std::string path;  ///< where the list came from, for messages
};

/// Reads a list: one integer >= 0 per line; blank lines and comments (from '#' on) are skipped.
/// Error::kData with file and line: not an integer, a duplicate.
RowSubset read_row_subset(const std::string& path, bool complement);

/// Every row of every pass.
RowSelection all_rows(const FeatureCache& cache);
/// Rows of passes [first_pass, first_pass + passes), each pass filtered by its `index`.
/// Error::kData: a position of the list that the cache does not have, no row selected, passes with
/// different numbers of selected rows. Error::kUsage: passes that do not exist.
RowSelection select_rows(const FeatureCache& cache, int64_t first_pass, int64_t passes,
                         const std::optional<RowSubset>& subset = {});

}  // namespace dissent
