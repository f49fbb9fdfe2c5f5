#pragma once
#include <map>
#include <string>
#include <vector>

namespace dissent::jobs {

/// A row after expansion, and the alternatives that it stands for, in the order of the columns.
struct Expansion {
  std::map<std::string, std::string> cells;
  std::vector<std::string> chosen;
};

/// All combinations of what the braces of these cells offer (sheet.hpp has the rules). columns: in
/// the order of the sheet; cells: one a column.
/// Throws Error::kUsage naming the column: a brace that is not closed, is no alternative, range or
/// column, columns that refer to each other in a circle, more than 100,000 combinations
/// or 4,000,000 cells.
std::vector<Expansion> expand(const std::vector<std::string>& columns,
                              const std::vector<std::string>& cells);

}  // namespace dissent::jobs
