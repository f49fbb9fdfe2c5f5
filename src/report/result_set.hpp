#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dissent::report {

/// A row of a result file with its fields by column name. Columns that this program does not know
/// are kept; one that a file lacks reads as "".
struct ReportRow {
  std::map<std::string, std::string> fields;
  int64_t seed = 0;
  double value = 0;
  std::string place;  ///< "file:line", for messages
  const std::string& field(const std::string& column) const;
};

/// The rows of all files together.
struct ResultSet {
  std::vector<std::string> columns;  ///< all that any file has
  std::vector<ReportRow> rows;
  /// CSV files below the folders that are neither result rows nor written by this program.
  std::vector<std::string> passed_over = {};
};

/// Reads result files, and those below folders. There, CSV files without the columns of result rows
/// are passed over: this program's own (train.csv, figures) quietly, others counted and logged with
/// the first one's name. A row that stands in several files with one value
/// counts once. A file of published figures (it has the column `source`) may leave values empty:
/// figures that its source has and that could not be read; these rows are passed over. Throws
/// Error::kData naming file, line and column: no such file, no result file, a value that is no
/// number, no row at all; the same row with two values names both places.
ResultSet read_result_files(const std::vector<std::string>& paths);

/// Adds rows read from the text of one file. For tests and callers that have the text.
void add_result_text(ResultSet& set, const std::string& text, const std::string& path);
/// Joins equal rows; throws Error::kData naming both places where one row has two values.
void merge_equal_rows(ResultSet& set);

}  // namespace dissent::report
