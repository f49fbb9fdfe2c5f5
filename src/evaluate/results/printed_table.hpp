#pragma once
#include <string>
#include <vector>

#include "storage/results.hpp"

namespace dissent {

/// Result rows for a terminal of so many columns: a part for each set, a line for each run,
/// predictor and score, a column for each metric; metrics that do not fit beside each other stand
/// below each other. Lines are no longer than `columns` unless names alone are. Differences between
/// methods (rows without a run, three each: value, low, high) come last.
std::string printed_table(const std::vector<ResultRow>& rows, int64_t columns);

}  // namespace dissent
