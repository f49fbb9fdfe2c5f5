#pragma once
#include <cstdint>
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

/// A column of a table: the result rows that meet all conditions, one per seed; or several per
/// seed, over whose data sets the mean is taken.
struct Selection {
  std::string group = {};  ///< heading above several columns, or ""
  std::string name;
  std::vector<Condition> where = {};
  /// Not empty: the plain mean over these data sets, all of which are required.
  std::vector<std::string> datasets = {};
  /// The plain mean over all matching data sets, the same ones for each seed and row.
  bool every_dataset = false;
  /// With every_dataset: a row of this data set is the mean itself, as it is published.
  std::string whole = {};
  bool optional = false;  ///< left out of the table if no row matches
  /// The value does not depend on the table's row (an accuracy in a table of detection on several
  /// sets).
  bool whole_table = false;
  double scale = 1;  ///< 100: per cent
  int digits = 3;    ///< decimals in Markdown and LaTeX
  /// Decimals to which values are rounded before and after a mean over data sets; -1: no rounding.
  int round_to = -1;
};

/// A cell of a table: one value per seed.
struct Cell {
  std::map<int64_t, double> values;  ///< by seed
  std::vector<int64_t> missing;      ///< expected seeds without a value
  std::vector<std::string> gaps;     ///< "seed 3 lacks fog_1": why a mean over data sets is missing
  bool chosen_on_test = false;       ///< a choice behind it was made on test data
  std::optional<double> stated_deviation = {};  ///< deviation in the row itself (a published mean)
  size_t expected() const { return values.size() + missing.size(); }
  /// Plain mean over seeds; NaN without one.
  double mean() const;
  /// sqrt(sum (x - mean)^2 / (n - freedom)) with freedom 1 (sample, numpy's ddof=1) or 0
  /// (population); nothing for n <= freedom.
  std::optional<double> deviation(int freedom) const;
};

/// How result rows become a table.
struct Layout {
  std::string name;
  std::string meaning;
  std::string citation;
  std::vector<std::string> rows;  ///< result columns whose values name a row
  std::vector<Selection> columns;
  std::vector<Condition> where = {};  ///< for all rows
  /// Scores whose values belong to every score of their row: none (as for an accuracy), and in some
  /// layouts the "score" of calibration after temperature scaling.
  std::vector<std::string> common_scores = {""};
  bool by_dataset = false;  ///< rows are data sets in the order near, far, with the mean of each
                            ///< kind below (OpenOOD)
};

struct TableOptions {
  /// Seeds that every cell should have; empty: the union of the seeds of the table's row.
  std::vector<int64_t> seeds = {};
  std::vector<Condition> where = {};  ///< further conditions for all rows
  /// Rows that the layout's columns do not distinguish (two trainings with the same experiment
  /// name) get one more column that does, if each of them has all seeds: evaluation, run,
  /// training_hash or config_hash.
  bool part_rows = true;
  bool may_be_empty = false;  ///< a table without rows if no row matches the layout
};

struct Table {
  Layout layout;
  std::vector<std::vector<std::string>> names;  ///< names of each row, by layout.rows
  std::vector<std::vector<Cell>> cells;         ///< [row][column]
  std::vector<int64_t> left_out = {};           ///< unexpected seeds of the rows
};

/// Error::kUsage if two rows match one cell and seed, with both places and the column in which they
/// differ, and for a column that no file has; Error::kData if no row matches the layout, unless the
/// table may be empty. In a layout by data set, `where` on a column that the layout fixes
/// (predictor) replaces the layout's condition.
Table build_table(const ResultSet& set, const Layout& layout, const TableOptions& options);

/// "data set" names as they are compared: lower case, '_' for ' ' and '-'.
std::string plain_name(const std::string& name);

}  // namespace dissent::report
