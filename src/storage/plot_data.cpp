#include "storage/plot_data.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/edited_text.hpp"
#include "core/enum_names.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"

namespace dissent {
namespace {

constexpr EnumName<PlotKind> kPlotKinds[] = {{PlotKind::kReliability, "reliability"},
                                             {PlotKind::kHistogram, "histogram"},
                                             {PlotKind::kRoc, "roc"},
                                             {PlotKind::kCurve, "curve"}};

PlotKind kind_of(const std::string& text, const std::string& place) {
  const auto kind = value_in(kPlotKinds, text);
  DISSENT_CHECK(kind, kData, "{}: kind: expected one of {}; found '{}'", place,
                names_in(kPlotKinds), text);
  return *kind;
}

// What is wrong with a point of a file of this kind, or "".
std::string problem_of(const PlotPoint& point, PlotKind kind) {
  // Comparisons are written so that NaN fails them: !(low <= high), not low > high.
  const bool binned = point.kind == PlotKind::kReliability || point.kind == PlotKind::kHistogram;
  if (point.kind != kind)
    return fmt::format("kind: expected {} as in the rows before, found {}", plot_kind_name(kind),
                       plot_kind_name(point.kind));
  if (!std::isfinite(point.x) || !std::isfinite(point.y))
    return fmt::format("x, y: expected finite numbers, found {}, {}", point.x, point.y);
  if (binned && !(point.low && point.high))
    return "low, high: expected the edges of the bin, found none";
  if (point.low.has_value() != point.high.has_value())
    return "low, high: expected both or none, found one";
  if (point.low && !(*point.low <= *point.high))
    return fmt::format("low, high: expected low <= high, found {}, {}", *point.low, *point.high);
  if (point.area && !(*point.area >= 0 && *point.area <= 1))
    return fmt::format("area: expected 0 .. 1, found {}", *point.area);
  return "";
}

std::string text_of(const std::optional<double>& value) { return value ? number_text(*value) : ""; }

double number_of(const std::string& text, const std::string& place, const char* column) {
  const auto number = parsed_number(text);
  DISSENT_CHECK(number, kData, "{}: column {}: expected a number, found '{}'", place, column, text);
  return *number;
}

}  // namespace

const char* plot_kind_name(PlotKind kind) { return name_in(kPlotKinds, kind); }

void write_plot(const std::string& path, const std::vector<PlotPoint>& points) {
  const bool areas = std::any_of(points.begin(), points.end(),
                                 [](const auto& point) { return point.area.has_value(); });
  const bool labels = std::any_of(points.begin(), points.end(),
                                  [](const auto& point) { return !point.label.empty(); });

  // Optional columns are written only if a point has them.
  std::vector<std::string> header{"kind", "series", "x", "y", "low", "high", "weight"};
  if (areas) header.emplace_back("area");
  if (labels) header.emplace_back("label");

  std::string text = csv_line(header);
  for (size_t i = 0; i < points.size(); ++i) {
    const auto& p = points[i];
    const auto problem = problem_of(p, points[0].kind);
    DISSENT_CHECK(problem.empty(), kUsage, "write_plot: {}: point {}: {}", path, i, problem);

    std::vector<std::string> fields{plot_kind_name(p.kind), p.series,       number_text(p.x),
                                    number_text(p.y),       text_of(p.low), text_of(p.high),
                                    text_of(p.weight)};
    if (areas) fields.push_back(text_of(p.area));
    if (labels) fields.push_back(p.label);
    text += csv_line(fields);
  }
  atomic_write_text(path, text);
}

namespace {

// The fields of a row by the names of its columns.
class PlotRow {
 public:
  PlotRow(const std::vector<std::string>& header, const CsvRecord& record, std::string place)
      : header_(header), fields_(record.fields), place_(std::move(place)) {
    DISSENT_CHECK(fields_.size() == header.size(), kData,
                  "{0}: expected {2} columns as the header has, found {1}", place_, fields_.size(),
                  header.size());
  }

  // "" where the file has no such column.
  std::string text(const char* name) const {
    const auto at = std::find(header_.begin(), header_.end(), name);
    return at == header_.end() ? "" : fields_[static_cast<size_t>(at - header_.begin())];
  }
  double number(const char* name) const { return number_of(text(name), place_, name); }
  std::optional<double> optional(const char* name) const {
    return text(name).empty() ? std::nullopt : std::optional(number(name));
  }

 private:
  const std::vector<std::string>&header_, &fields_;
  std::string place_;
};

}  // namespace

std::vector<PlotPoint> read_plot(const std::string& path) {
  const auto records = parse_csv(edited_text(read_text(path), path), path);
  DISSENT_CHECK(!records.empty(), kData, "{}: expected a header line, found an empty file", path);

  // Without these columns the file is some other table, which the message says.
  const auto& header = records[0].fields;
  for (const char* name : {"kind", "series", "x", "y"})
    DISSENT_CHECK(std::find(header.begin(), header.end(), name) != header.end(), kData,
                  "{}:{}: not a plot file: expected a column '{}', found none", path,
                  records[0].line, name);

  std::vector<PlotPoint> points;
  for (size_t i = 1; i < records.size(); ++i) {
    const auto place = fmt::format("{}:{}", path, records[i].line);
    const PlotRow row(header, records[i], place);
    points.push_back({kind_of(row.text("kind"), place), row.text("series"), row.number("x"),
                      row.number("y"), row.optional("low"), row.optional("high"),
                      row.optional("weight"), row.optional("area"), row.text("label")});

    const auto problem = problem_of(points.back(), points.front().kind);
    DISSENT_CHECK(problem.empty(), kData, "{}: {}", place, problem);
  }
  DISSENT_CHECK(!points.empty(), kData, "{}: expected points, found none", path);
  return points;
}

}  // namespace dissent
