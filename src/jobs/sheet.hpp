#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dissent::jobs {

/// One experiment of a sheet: the cells of a record after its expansion, by column name.
struct SheetRow {
  int64_t line = 0;   ///< of the record in the file, from 1
  std::string name;   ///< unique in the sheet: letters, digits and . _ + = - only
  std::string group;  ///< the name before expansion: `after` may give either
  std::map<std::string, std::string> cells;
  /// The cell, or "" if the sheet has no such column.
  const std::string& cell(const std::string& column) const;
};

/// A CSV file (RFC 4180) whose first record names the columns.
struct Sheet {
  std::string path;
  std::vector<std::string> columns;
  std::vector<SheetRow> rows;
};

/// Column of a sheet that was imported: as `enabled`, and a cell that was 0 and is 1 asks for the
/// row anew.
inline constexpr const char* kWhetherToRun = "whether_to_run";

/// The columns that mean something; `set:table.key` and `slurm:flag` too. Any other column is free
/// text, which --where and {column} may use.
const std::vector<std::string>& known_columns();

/// Reads and expands. In any cell
///   {a | b | c}    one row for each alternative
///   {1..5}         one for each integer; {10..50..20} in steps
///   {method}       what the row has in the column `method`
///   {{  }}         braces
/// and several of them give their product, the leftmost column changing slowest. A row without a
/// name is called VERB-CONFIG; rows that would have the same name get the alternatives that they
/// stand for appended.
/// Error::kUsage with a line for each thing that is wrong ("sheet.csv:3: ranks: ..."): columns
/// missing, given twice or misspelt, records of another length, braces that say nothing, names used
/// twice. Error::kData for a file that cannot be read or is no CSV.
Sheet read_sheet(const std::string& path);
Sheet parse_sheet(const std::string& path, const std::string& text);

/// The rows that fit every "column=value" (value: a shell pattern, * and ?). Error::kUsage for a
/// column that the sheet does not have.
std::vector<SheetRow> where(const Sheet& sheet, const std::vector<std::string>& conditions);

/// 1, yes, true: true; 0, no, false: false, in any case; nothing for other texts.
std::optional<bool> yes_or_no(std::string text);

/// The text with every character that a name may not hold replaced by '_'.
std::string as_name(const std::string& text);

}  // namespace dissent::jobs
