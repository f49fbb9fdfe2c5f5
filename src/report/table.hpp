#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/result_set.hpp"

namespace dissent::report {

/// Holds for rows whose column has one of these texts. Names of data sets are compared without
/// case, and with ' ' and '-' as '_'.
struct Condition {
  std::string column;
  std::vector<std::string> any_of;
};
bool holds(const Condition& condition, const ReportRow& row);

/// A column of figures, or what a row of a table asks for: the rows that fit all conditions, one a
/// seed; or several a seed that are averaged.
struct Selection {
  std::string group = {};  ///< heading above several columns, or ""
  std::string name;
  std::vector<Condition> where = {};
  std::vector<std::string> datasets =
      {};  ///< not empty: the plain mean over these data sets, each of which has to be there
  bool every_dataset =
      false;  ///< the plain mean over every data set that fits, the same ones for each seed and row
  std::string whole = {};    ///< of every_dataset: a row of this data set is the mean itself, as it
                             ///< is published
  bool optional = false;     ///< left out of the table where no row fits it
  bool whole_table = false;  ///< the figure does not depend on the table's row (an accuracy beside
                             ///< detection on several sets)
  double scale = 1;          ///< 100: shown in per cent
  int digits = 3;            ///< after the point, in Markdown and LaTeX
  int round_to =
      -1;  ///< decimals to which values are rounded before and after a mean over data sets; -1: not
};

/// What one cell holds: a value a seed.
struct Cell {
  std::map<int64_t, double> values;  ///< by seed
  std::vector<int64_t> missing;      ///< seeds that were expected and are not there
  std::vector<std::string> gaps;     ///< "seed 3 lacks fog_1": why a mean over data sets is missing
  bool chosen_on_test = false;       ///< a choice behind it was made on test data
  std::optional<double> stated_deviation = {};  ///< what a row says of itself (a published mean)
  size_t expected() const { return values.size() + missing.size(); }
  /// Plain mean over seeds; NaN without one.
  double mean() const;
  /// sqrt(sum (x - mean)^2 / (n - freedom)) with freedom 1 (sample, numpy's ddof=1) or 0
  /// (population); nothing for n <= freedom.
  std::optional<double> deviation(int freedom) const;
};

/// How to turn rows into a table.
struct Layout {
  std::string name;
  std::string meaning;
  std::string citation;
  std::vector<std::string> rows;  ///< result columns whose values name a row
  std::vector<Selection> columns;
  std::vector<Condition> where = {};  ///< of all rows
  /// Scores whose figures belong to every score of their row: none (an accuracy, say), and what
  /// calibration figures say of themselves in some layouts.
  std::vector<std::string> common_scores = {""};
  bool by_dataset = false;  ///< rows are data sets in the order near, far, with the mean of each
                            ///< kind below (OpenOOD)
};

struct TableOptions {
  std::vector<int64_t> seeds =
      {};  ///< expected of every cell; empty: the union of the seeds of the table's row
  std::vector<Condition> where = {};  ///< narrows all rows
  /// Rows that the layout's columns do not tell apart (two trainings of one experiment's name) get
  /// one more column that does, if each of them has all the seeds: evaluation, run or config_hash.
  bool part_rows = true;
  bool may_be_empty = false;  ///< a table without rows where no row fits the layout
};

struct Table {
  Layout layout;
  std::vector<std::vector<std::string>> names;  ///< of each row, by layout.rows
  std::vector<std::vector<Cell>> cells;         ///< [row][column]
  std::vector<int64_t> left_out = {};  ///< seeds that were found and are not among those expected
};

/// Throws Error::kUsage where two rows fit one cell and seed, naming both places
/// and the column in which they differ, and for a column that no file has; Error::kData if no row
/// fits the layout, unless the table may be empty. Of a layout by data set, `where` on a column
/// that the layout fixes (predictor) replaces what it fixes.
Table build_table(const ResultSet& set, const Layout& layout, const TableOptions& options);

/// "data set" names as they are compared: lower case, '_' for ' ' and '-'.
std::string plain_name(const std::string& name);

}  // namespace dissent::report
