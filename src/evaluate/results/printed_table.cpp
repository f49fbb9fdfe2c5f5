#include "evaluate/results/printed_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

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
  std::vector<std::vector<std::string>> kinds(2);
  for (const auto& metric : part.metrics) {
    const bool of_probabilities = std::any_of(
        part.lines.begin(), part.lines.end(),
        [&](const Line& line) { return line[2].empty() && part.values.contains({line, metric}); });
    kinds[of_probabilities ? 0 : 1].push_back(metric);
  }
  return kinds;
}

// The lines that have any of these metrics, as one or several tables that fit into the columns.
std::string table_of(const SetPart& part, const std::vector<std::string>& metrics,
                     int64_t columns) {
  std::vector<Line> lines;
  for (const auto& line : part.lines)
    if (std::any_of(metrics.begin(), metrics.end(),
                    [&](const auto& metric) { return part.values.contains({line, metric}); }))
      lines.push_back(line);

  // Columns for names; a column without any name is left out.
  const char* const heads[] = {"run", "predictor", "score"};
  std::vector<size_t> widths;
  size_t names = 0;
  for (size_t c = 0; c < 3; ++c) {
    size_t width = 0;
    for (const auto& line : lines) width = std::max(width, line[c].size());
    widths.push_back(width == 0 ? 0 : std::max(width, std::string(heads[c]).size()) + 2);
    names += widths.back();
  }
  const auto width_of = [](const std::string& metric) {
    return std::max<size_t>(metric.size(), 7) + 2;
  };

  // As many metrics beside each other as fit, but at least one.
  std::string text;
  for (size_t first = 0, last = 0; first < metrics.size(); first = last) {
    size_t width = names;
    for (last = first; last < metrics.size(); ++last) {
      width += width_of(metrics[last]);
      if (last > first && width > static_cast<size_t>(columns)) break;
    }

    const auto add = [&](const auto& name_of, const auto& cell_of) {
      std::string line;
      for (size_t c = 0; c < 3; ++c) line += fmt::format("{:<{}}", name_of(c), widths[c]);
      for (size_t m = first; m < last; ++m)
        line += fmt::format("{:>{}}", cell_of(metrics[m]), width_of(metrics[m]));
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    };
    add([&](size_t c) { return std::string(widths[c] == 0 ? "" : heads[c]); },
        [](const auto& metric) { return metric; });
    for (const auto& line : lines)
      add([&](size_t c) { return line[c]; },
          [&](const auto& metric) {
            const auto at = part.values.find({line, metric});
            return at == part.values.end() ? std::string("-") : value_text(at->second);
          });
  }
  return text;
}

// One line per difference between methods, from three rows: value, low, high.
std::string differences_text(const std::vector<ResultRow>& rows) {
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
  std::string text;
  for (const auto& part : parts_of(rows)) {
    text += (text.empty() ? "" : "\n") + part.title + "\n";
    for (const auto& metrics : kinds_of(part))
      if (!metrics.empty()) text += table_of(part, metrics, columns);
  }
  return text + differences_text(differences);
}

}  // namespace dissent
