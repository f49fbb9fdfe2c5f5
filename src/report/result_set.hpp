#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dissent::report {

/// A row of a result file, with its fields by column name. Unknown columns are kept; a missing one
/// reads as "".
struct ReportRow {
  std::map<std::string, std::string> fields;
  int64_t seed = 0;
  double value = 0;
  std::string place;  ///< "file:line", for messages
  const std::string& field(const std::string& column) const;
};

/// The rows of all files together.
struct ResultSet {
  std::vector<std::string> columns;  ///< the columns of any file
  std::vector<ReportRow> rows;
  /// CSV files below the folders that are not result files and not of this program.
  std::vector<std::string> skipped = {};
};

/// Reads result files, and those below folders, where CSV files without the columns of result rows
/// are skipped: this program's own (train.csv, plot files) silently, others with one warning. A row
/// that several files have with the same value counts once. A file of published values (it has the
/// column `source`) may leave values empty that its source has but that could not be read; these
/// rows are skipped. Error::kData with file, line and column: no such file, not a result file, a
/// value that is not a number, no rows; the same row with two values, with both places.
ResultSet read_result_files(const std::vector<std::string>& paths);

/// Adds rows read from the text of one file. For tests and callers that have the text.
void add_result_text(ResultSet& set, const std::string& text, const std::string& path);
/// Merges equal rows; Error::kData with both places if a row has two values.
void merge_equal_rows(ResultSet& set);

}  // namespace dissent::report
