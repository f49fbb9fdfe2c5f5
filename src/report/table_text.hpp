#pragma once
#include <string>
#include <utility>
#include <vector>

#include "report/table.hpp"

namespace dissent::report {

enum class TableFormat { kCsv, kMarkdown, kLatex };
/// "csv", "markdown" or "latex"; Error::kUsage for another text. option: for the message.
TableFormat table_format(const std::string& option, const std::string& text);

/// How a table is written.
struct TextOptions {
  TableFormat format = TableFormat::kMarkdown;
  int precision = -1;  ///< digits after the point; -1: all in CSV, those of the layout elsewhere
  int freedom = 1;     ///< the deviation divides by n - freedom: 1 sample, 0 population
};

/// Published values for the cells of a table, NaN where none is published.
struct Published {
  std::string source;
  std::vector<std::vector<double>> values;      ///< [row][column]
  std::vector<std::vector<double>> deviations;  ///< [row][column], NaN where none is published
};

/// Cells of `published` for the rows of `table`. A row of ours corresponds to the published one
/// with the same names, after its experiment is renamed by `experiments` ({ours, theirs} pairs);
/// method and members may differ. Error::kUsage for a name in `experiments` that is in neither.
Published match_published(const Table& table, const Table& published,
                          const std::vector<std::pair<std::string, std::string>>& experiments,
                          const std::string& source);

/// Mean +- deviation of each cell, with "n=4 of 5" where seeds are missing, a dagger where a choice
/// was made on test data, and a list of missing values below. Published values follow each row in
/// Markdown and LaTeX (published, difference), each cell in CSV.
std::string table_text(const Table& table, const TextOptions& options, const Published* published);

/// The form of a release: ood_gen_df.csv and ood_det_df.csv of SED (all digits), ood.csv of OpenOOD
/// (two digits; "mean ± deviation" over several seeds, as its scripts/eval_ood.py writes).
/// precision -1: that of the release. Error::kUsage if two rows get the same name in the release.
std::string released_text(const Table& table, const TextOptions& options);

}  // namespace dissent::report
