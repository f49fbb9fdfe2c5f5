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

/// Which rows of a cache are used: ascending, disjoint ranges. The same number of rows in each
/// pass.
struct RowSelection {
  std::vector<RowRange> ranges;
  int64_t passes = 0;
  int64_t rows_per_pass = 0;
  int64_t rows() const { return passes * rows_per_pass; }
};

/// A list of positions in the source set (values of `index`), kept or, with `complement`, left out.
struct RowSubset {
  std::vector<int64_t> positions;
  bool complement = false;
  std::string path;  ///< where the list came from, for messages
};

/// Reads a list: one integer >= 0 a line; blank lines and what follows '#' are skipped.
/// Error::kData naming file and line: no integer, a duplicate.
RowSubset read_row_subset(const std::string& path, bool complement);

/// Every row of every pass.
RowSelection all_rows(const FeatureCache& cache);
/// Rows of passes [first_pass, first_pass + passes), filtered in each pass by `index`.
/// Error::kData: a position of the list that the cache does not have, no row left, passes that keep
/// different numbers of rows. Error::kUsage: passes that are not there.
RowSelection select_rows(const FeatureCache& cache, int64_t first_pass, int64_t passes,
                         const std::optional<RowSubset>& subset = {});

}  // namespace dissent
