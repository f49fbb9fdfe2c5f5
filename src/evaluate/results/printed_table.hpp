#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "storage/results.hpp"

namespace dissent {

/// Result rows for a terminal with this many columns: one part per set, one line per run, predictor
/// and score, one column per metric; metrics that do not fit into one table follow in another
/// table. Lines are not longer than `columns` unless the names alone are. Differences between
/// methods (rows without a run, three each: value, low, high) come last.
std::string printed_table(const std::vector<ResultRow>& rows, int64_t columns);

}  // namespace dissent
