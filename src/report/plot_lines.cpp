#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/ranges.h>

#include "core/edited_text.hpp"
#include "report/plots.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"
#include "storage/run_folder.hpp"
#include "storage/train_log.hpp"

namespace dissent::report {
namespace {

namespace fs = std::filesystem;

struct Moments {
  std::vector<double> values;
  double mean() const {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  }
  double deviation() const {
    // Sample deviation: over seeds, of which there are two or more.
    double sum = 0;
    for (const double value : values) sum += (value - mean()) * (value - mean());
    return std::sqrt(sum / static_cast<double>(values.size() - 1));
  }
};

Line line_of(const std::string& name, const std::map<double, Moments>& points, bool marks) {
  Line line{name, {}, marks};
  for (const auto& [x, at] : points) {
    line.points.push_back({.kind = PlotKind::kCurve, .series = name, .x = x, .y = at.mean()});

    // One seed has no deviation, and its line no band.
    if (at.values.size() < 2) continue;
    line.points.back().low = at.mean() - at.deviation();
    line.points.back().high = at.mean() + at.deviation();
  }
  return line;
}

double number_of(const std::string& text, const std::string& place) {
  const auto number = parsed_number(text);
  DISSENT_CHECK(number, kData, "{}: expected a number, found '{}'", place, text);
  return *number;
}

// "accuracy_ensemble" -> "accuracy, ensemble"
std::string label_of(const std::string& column) {
  if (column == kNllColumn) return "negative log-likelihood (nats)";
  if (column == kTotalColumn) return "training loss";
  if (column == kAccuracyMeanColumn) return "accuracy, mean member";
  if (column.starts_with(kAccuracyPrefix))
    return "accuracy, " + column.substr(std::string_view(kAccuracyPrefix).size());
  auto text = column;
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

// A training log; group: the name of the folder above the run, which its seeds share.
struct Log {
  std::string group;
  std::vector<CsvRecord> records;
  std::string path;
};

Log open_log(const std::string& given) {
  // A run folder, or the log itself. Runs in one folder are seeds of one training.
  const std::string path = fs::is_directory(given) ? given + "/" + kTrainLogFile : given;
  DISSENT_CHECK(path_exists(path), kData, "{}: no such training log", path);
  Log log{fs::absolute(path).lexically_normal().parent_path().parent_path().filename().string(),
          parse_csv(edited_text(read_text(path), path), path), path};
  DISSENT_CHECK(!log.records.empty() && log.records[0].fields[0] == kEpochColumn, kData,
                "{}: expected a training log, whose first column is epoch", path);
  return log;
}

// Adds the finite values of a column to `points`, by epoch.
void add_column(const Log& log, const std::string& column, std::map<double, Moments>& points) {
  const auto& header = log.records[0].fields;
  const auto at =
      static_cast<size_t>(std::find(header.begin(), header.end(), column) - header.begin());
  DISSENT_CHECK(at < header.size(), kData, "{0}: expected a column '{1}', found {2}", log.path,
                column, fmt::join(header, ", "));

  for (size_t i = 1; i < log.records.size(); ++i) {
    const auto& record = log.records[i];
    const auto place = fmt::format("{}:{}: column {}", log.path, record.line, column);
    DISSENT_CHECK(record.fields.size() == header.size(), kData,
                  "{0}:{1}: expected {3} columns as the header has, found {2}", log.path,
                  record.line, record.fields.size(), header.size());

    // Epochs without this value, or with one that cannot be drawn, are left out.
    if (record.fields[at].empty()) continue;
    const double value = number_of(record.fields[at], place);
    if (std::isfinite(value)) points[number_of(record.fields[0], place)].values.push_back(value);
  }
}

// Predictor "size:3", or "sub:3:0" for one of several ensembles of a size.
bool is_sub_ensemble(const ReportRow& row) {
  return row.field("predictor").starts_with("size:") || row.field("predictor").starts_with("sub:");
}

// Number of members of a row's predictor; 0 if it is not such an ensemble.
double size_of(const ReportRow& row) {
  const auto& predictor = row.field("predictor");
  if (is_sub_ensemble(row)) {
    // The number between the first colon and the next one, if there is one.
    const auto begin = predictor.find(':') + 1,
               end = std::min(predictor.find(':', begin), predictor.size());
    return number_of(predictor.substr(begin, end - begin), row.place + ": column predictor");
  }
  if (predictor == "mean") return 1;
  return predictor == "ensemble" ? number_of(row.field("members"), row.place + ": column members")
                                 : 0;
}

std::string name_of(const ReportRow& row, const std::vector<std::string>& columns) {
  std::vector<std::string> names;
  for (const auto& column : columns)
    if (!row.field(column).empty()) names.push_back(row.field(column));
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_one(const std::vector<const ReportRow*>& rows, const char* column) {
  std::set<std::string> found;
  for (const auto* row : rows) found.insert(row->field(column));
  DISSENT_CHECK(
      found.size() <= 1, kUsage,
      "{0}: expected one value in all rows, found {1}; choose one with --where {0}=... or name the "
      "column in --series",
      column, fmt::join(found, ", "));
}

}  // namespace

std::vector<Panel> training_panels(const std::vector<std::string>& paths,
                                   const std::vector<std::string>& columns) {
  std::vector<Log> logs;
  for (const auto& path : paths) logs.push_back(open_log(path));

  std::vector<Panel> panels;
  for (const auto& column : columns.empty()
                                ? std::vector<std::string>{kTotalColumn, kAccuracyEnsembleColumn,
                                                           kAccuracyMeanColumn, kNllColumn}
                                : columns) {
    // One line per group of seeds: mean and deviation of its runs at each epoch.
    std::map<std::string, std::map<double, Moments>> groups;
    for (const auto& log : logs) add_column(log, column, groups[log.group]);

    Panel panel{kEpochColumn, label_of(column), {}, true};
    for (const auto& [group, points] : groups)
      if (!points.empty()) panel.lines.push_back(line_of(group, points, false));
    if (!panel.lines.empty()) panels.push_back(std::move(panel));
  }

  DISSENT_CHECK(!panels.empty(), kData, "{}: expected values to draw, found none", paths.front());
  return panels;
}

namespace {

// The rows that meet the conditions and whose predictor is an ensemble of a known size.
std::vector<const ReportRow*> sized_rows(const ResultSet& set,
                                         const std::vector<Condition>& where) {
  std::vector<const ReportRow*> rows;
  for (const auto& row : set.rows) {
    const bool meets_all = std::all_of(
        where.begin(), where.end(), [&](const auto& condition) { return holds(condition, row); });
    if (size_of(row) > 0 && meets_all) rows.push_back(&row);
  }
  return rows;
}

using SeedValues = std::map<int64_t, Moments>;  // values of several ensembles per seed

}  // namespace

std::vector<Panel> size_panels(const ResultSet& set, const std::vector<std::string>& series,
                               const std::vector<Condition>& where) {
  const auto rows = sized_rows(set, where);
  DISSENT_CHECK(
      !rows.empty(), kData,
      "result files: expected predictors with a size (size:2, ensemble, mean), found none");

  // Rows of different metrics or sets in one line would be averaged without notice.
  for (const char* column : {"metric", "dataset", "score", "convention", "split"})
    if (std::find(series.begin(), series.end(), column) == series.end()) check_one(rows, column);

  // Rows of sub-ensembles count; `ensemble` and `mean` only fill sizes that have none.
  std::map<std::string, std::set<double>> sizes_with_rows;
  for (const auto* row : rows)
    if (is_sub_ensemble(*row)) sizes_with_rows[name_of(*row, series)].insert(size_of(*row));
  std::map<std::string, std::map<double, SeedValues>> lines;  // by series and size
  for (const auto* row : rows) {
    const auto name = name_of(*row, series);
    const double size = size_of(*row);
    if (is_sub_ensemble(*row) || !sizes_with_rows[name].contains(size))
      lines[name][size][row->seed].values.push_back(row->value);
  }

  // Columns outside of `series` have one value in all rows (check_one), so any row names the axis.
  const auto& first = *rows[0];
  const auto score = first.field("score").empty() ? "" : " of " + first.field("score");
  Panel panel{"ensemble size (members)",
              fmt::format("{}{}, {}", first.field("metric"), score, first.field("dataset")),
              {},
              true};
  for (const auto& [name, sizes] : lines) {
    // First the mean over the ensembles of a seed, then mean and deviation over seeds: ensembles
    // of one seed share members, so their values depend on each other.
    std::map<double, Moments> points;
    for (const auto& [size, seeds] : sizes)
      for (const auto& [seed, values] : seeds) points[size].values.push_back(values.mean());
    panel.lines.push_back(line_of(name, points, true));
  }
  return {panel};
}

}  // namespace dissent::report
