#pragma once
#include <string>
#include <vector>

#include "report/table.hpp"

namespace dissent::report {

/// How a table is written.
struct TextOptions {
  std::string format = "markdown";  ///< csv, markdown, latex
  int precision = -1;  ///< digits after the point; -1: all in CSV, those of the layout elsewhere
  int freedom = 1;     ///< of the deviation: 1 sample (n - 1), 0 population (n)
};

/// Published figures beside those of a table: of each cell its published value, NaN where there is
/// none.
struct Published {
  std::string source;
  std::vector<std::vector<double>> values;      ///< [row][column]
  std::vector<std::vector<double>> deviations;  ///< [row][column], NaN where none is published
};

/// Cells of `published` for the rows of `table`. A row of ours belongs to the published one with
/// the same names, its experiment renamed first by `experiments` ({ours, theirs} pairs); method and
/// members need not agree. Error::kUsage for a name in `experiments` that is in neither.
Published match_published(const Table& table, const Table& published,
                          const std::vector<std::pair<std::string, std::string>>& experiments,
                          const std::string& source);

/// mean +- deviation of each cell, with "n=4 of 5" where seeds are missing, a dagger where a choice
/// was made on test data, and what is missing listed below. Published figures follow each row in
/// Markdown and LaTeX (published, difference), each cell in CSV.
std::string table_text(const Table& table, const TextOptions& options, const Published* published);

/// The form of a release: ood_gen_df.csv and ood_det_df.csv of SED (all digits), ood.csv of OpenOOD
/// (two digits; "mean ± deviation" over several seeds, as its scripts/eval_ood.py writes).
/// precision -1: the release's own.
std::string released_text(const Table& table, const TextOptions& options);

}  // namespace dissent::report
