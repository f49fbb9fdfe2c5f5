#include "evaluate/results/printed_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>

#include "core/text_table.hpp"
#include "evaluate/results/plot_files.hpp"

namespace dissent {
namespace {

// A line of a part: run, predictor, score.
using Line = std::vector<std::string>;

struct SetPart {
  std::string title;
  std::vector<Line> lines;
  std::vector<std::string> metrics;
  std::map<std::pair<Line, std::string>, double> values;
};

template <class T>
void add_once(std::vector<T>& to, const T& value) {
  if (std::find(to.begin(), to.end(), value) == to.end()) to.push_back(value);
}

std::string value_text(double value) {
  const double size = std::abs(value);
  return size != 0 && (size >= 1e6 || size < 1e-4) ? fmt::format("{:.2e}", value)
                                                   : fmt::format("{:.4f}", value);
}

std::string title_of(const ResultRow& row) {
  auto title = row.dataset;
  if (!row.shift.empty()) title += fmt::format(" ({})", row.shift);
  if (row.split != "test" && !row.split.empty()) title += ", " + row.split;
  return title;
}

std::vector<SetPart> parts_of(const std::vector<ResultRow>& rows) {
  const auto key_of = [](const ResultRow& row) {
    return RunKey{row.run, row.method, row.config_hash, row.seed};
  };
  std::vector<RunKey> runs;
  for (const auto& row : rows) add_once(runs, key_of(row));
  const auto labels = run_labels(runs);

  // One part per set, in the order of the rows; lines and metrics in order of appearance.
  std::vector<SetPart> parts;
  for (const auto& row : rows) {
    const auto title = title_of(row);
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const auto& other) { return other.title == title; });
    if (part == parts.end()) part = parts.insert(part, SetPart{title, {}, {}, {}});

    // Values that were chosen on the test set are in lines of their own, marked as such.
    const auto run = std::find(runs.begin(), runs.end(), key_of(row)) - runs.begin();
    const Line line{
        labels[run],
        row.fidelity.empty() ? row.predictor : fmt::format("{} ({})", row.predictor, row.fidelity),
        row.score};
    add_once(part->lines, line);
    add_once(part->metrics, row.metric);
    part->values[{line, row.metric}] = row.value;
  }
  return parts;
}

// Metrics of probabilities (of lines without a score), then metrics of scores: they have different
// lines, so each kind has its own table.
std::vector<std::vector<std::string>> kinds_of(const SetPart& part) {
  // A metric is of probabilities if a line without a score has a value of it.
  std::vector<std::vector<std::string>> kinds(2);
  for (const auto& metric : part.metrics) {
    const bool of_probabilities = std::any_of(
        part.lines.begin(), part.lines.end(),
        [&](const Line& line) { return line[2].empty() && part.values.contains({line, metric}); });
    kinds[of_probabilities ? 0 : 1].push_back(metric);
  }
  return kinds;
}

constexpr size_t kNameColumns = 3;  // of a Line

// The lines that have any of these metrics, as rows of a table with a header.
TableRows rows_of(const SetPart& part, const std::vector<std::string>& metrics) {
  TableRows rows{{"run", "predictor", "score"}};

  rows[0].insert(rows[0].end(), metrics.begin(), metrics.end());
  for (const auto& line : part.lines) {
    auto row = line;

    // Lines of another kind (with or without a score) have none of these metrics.
    bool any = false;
    for (const auto& metric : metrics) {
      const auto at = part.values.find({line, metric});
      any = any || at != part.values.end();
      row.push_back(at == part.values.end() ? "-" : value_text(at->second));
    }
    if (any) rows.push_back(row);
  }
  return rows;
}

// A name column that is empty in all rows is not shown.
bool is_shown(const TableRows& rows, size_t column) {
  return column >= kNameColumns || std::any_of(rows.begin() + 1, rows.end(), [&](const auto& row) {
           return !row[column].empty();
         });
}

// Some columns of a table.
TableRows selected(const TableRows& rows, const std::vector<size_t>& columns) {
  TableRows out;
  for (const auto& row : rows) {
    out.emplace_back();
    for (const size_t column : columns) out.back().push_back(row[column]);
  }
  return out;
}

// Metrics that do not fit into one table go into further tables below it.
std::string table_of(const SetPart& part, const std::vector<std::string>& metrics,
                     int64_t columns) {
  const auto rows = rows_of(part, metrics);
  const auto widths = column_widths(rows, 7);  // at least that of most values
  std::vector<size_t> names;
  size_t width_of_names = 0;
  for (size_t c = 0; c < kNameColumns; ++c) {
    if (!is_shown(rows, c)) continue;
    names.push_back(c);
    width_of_names += widths[c] + 2;
  }

  // At least one metric per table, even if the terminal is too narrow for it.
  std::string text;
  size_t next = kNameColumns;
  while (next < widths.size()) {
    auto shown = names;
    size_t width = width_of_names;
    do {
      shown.push_back(next);
      width += widths[next] + 2;
      ++next;
    } while (next < widths.size() && width + widths[next] + 2 <= static_cast<size_t>(columns) + 2);

    text += plain_table(selected(rows, shown),
                        left_then_right(names.size(), shown.size() - names.size()));
  }
  return text;
}

// One line per difference between methods, from three rows: value, low, high.
std::string differences_text(const std::vector<ResultRow>& rows) {
  // comparison_rows() gives the three rows of a difference one after another.
  size_t width = 12;
  for (const auto& row : rows) width = std::max(width, row.predictor.size() + 1);
  std::string text;
  for (size_t i = 0; i + 2 < rows.size(); i += 3) {
    if (i == 0) text += fmt::format("\n{:<{}}{:>8}  95 % interval\n", "difference", width, "a - b");
    const auto& row = rows[i];
    text += fmt::format("{:<{}}{:>+8.4f}  {:+.4f} .. {:+.4f}  {}{} {}\n", row.predictor, width,
                        row.value, rows[i + 1].value, rows[i + 2].value, row.metric,
                        row.score.empty() ? "" : " " + row.score, row.dataset);
  }
  return text;
}

}  // namespace

std::string printed_table(const std::vector<ResultRow>& all, int64_t columns) {
  std::vector<ResultRow> rows, differences;
  for (const auto& row : all) (row.run.empty() ? differences : rows).push_back(row);

  // Rows of comparisons have no run.
  std::string text;
  for (const auto& part : parts_of(rows)) {
    text += (text.empty() ? "" : "\n") + part.title + "\n";
    for (const auto& metrics : kinds_of(part))
      if (!metrics.empty()) text += table_of(part, metrics, columns);
  }
  return text + differences_text(differences);
}

}  // namespace dissent
