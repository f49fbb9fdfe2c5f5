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

/// Column of imported sheets: like `enabled`; and a cell that is changed from 0 to 1 runs the row
/// again.
inline constexpr const char* kWhetherToRun = "whether_to_run";

/// Reads and expands a sheet. In any cell
///   {a | b | c}    one row for each alternative
///   {1..5}         one for each integer; {10..50..20} in steps
///   {method}       the row's cell in the column `method`
///   {{  }}         braces
/// and several of them give all combinations, the leftmost column changing slowest. A row without a
/// name is called VERB-CONFIG; rows with the same name get their alternatives appended.
/// Error::kUsage with one line per problem ("sheet.csv:3: ranks: ..."): missing, duplicate or
/// misspelt columns, records of another length, invalid braces, duplicate names. Error::kData for a
/// file that cannot be read or is not CSV.
Sheet read_sheet(const std::string& path);
/// The same for a text that was read already; path: for messages.
Sheet parse_sheet(const std::string& path, const std::string& text);

/// The rows that match every "column=value" (value: a shell pattern, * and ?). Error::kUsage for a
/// column that the sheet does not have.
std::vector<SheetRow> where(const Sheet& sheet, const std::vector<std::string>& conditions);

/// 1, yes, true: true; 0, no, false: false, in any case; nothing for other texts.
std::optional<bool> yes_or_no(std::string text);

/// The text with every character that is not allowed in a name replaced by '_'.
std::string as_name(const std::string& text);

}  // namespace dissent::jobs
