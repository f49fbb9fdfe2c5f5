#pragma once
#include <map>
#include <string>
#include <vector>

namespace dissent::jobs {

/// A row after expansion, and its alternatives in the order of the columns.
struct Expansion {
  std::map<std::string, std::string> cells;
  std::vector<std::string> chosen;
};

/// All combinations of the alternatives in the braces of these cells (sheet.hpp has the rules).
/// columns: in the order of the sheet; cells: one per column.
/// Error::kUsage with the column: a brace that is not closed, or is not an alternative, range or
/// column, columns that refer to each other in a cycle, more than 100,000 combinations or 4,000,000
/// cells.
std::vector<Expansion> expand(const std::vector<std::string>& columns,
                              const std::vector<std::string>& cells);

}  // namespace dissent::jobs
