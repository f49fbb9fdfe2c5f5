#include "storage/figure_data.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/edited_text.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"

namespace dissent {
namespace {

const char* const kKinds = "reliability, histogram, roc, curve";

// What is wrong with a point, or "".
std::string problem_of(const FigurePoint& point, const std::string& kind) {
  const bool binned = point.kind == "reliability" || point.kind == "histogram";
  if (!binned && point.kind != "roc" && point.kind != "curve")
    return fmt::format("kind: expected one of {}; found '{}'", kKinds, point.kind);
  if (point.kind != kind)
    return fmt::format("kind: expected {} as in the rows before, found {}", kind, point.kind);
  if (!std::isfinite(point.x) || !std::isfinite(point.y))
    return fmt::format("x, y: expected finite numbers, found {}, {}", point.x, point.y);
  if (binned && !(point.low && point.high))
    return "low, high: expected the edges of the bin, found none";
  if (point.low.has_value() != point.high.has_value()) return "low, high: expected both or none";
  if (point.low && !(*point.low <= *point.high))
    return fmt::format("low, high: expected low <= high, found {}, {}", *point.low, *point.high);
  if (point.area && !(*point.area >= 0 && *point.area <= 1))
    return fmt::format("area: expected 0 .. 1, found {}", *point.area);
  return "";
}

std::string text_of(const std::optional<double>& value) { return value ? number_text(*value) : ""; }

double number_of(const std::string& text, const std::string& place, const char* column) {
  double out = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  DISSENT_CHECK(code == std::errc() && stop == text.data() + text.size(), kData,
                "{}: column {}: expected a number, found '{}'", place, column, text);
  return out;
}

}  // namespace

void write_figure(const std::string& path, const std::vector<FigurePoint>& points) {
  const bool areas = std::any_of(points.begin(), points.end(),
                                 [](const auto& point) { return point.area.has_value(); });
  std::vector<std::string> header{"kind", "series", "x", "y", "low", "high", "weight"};
  if (areas) header.emplace_back("area");
  const bool labels = std::any_of(points.begin(), points.end(),
                                  [](const auto& point) { return !point.label.empty(); });
  if (labels) header.emplace_back("label");
  std::string text = csv_line(header);
  for (size_t i = 0; i < points.size(); ++i) {
    const auto& p = points[i];
    const auto problem = problem_of(p, points[0].kind);
    DISSENT_CHECK(problem.empty(), kUsage, "write_figure: {}: point {}: {}", path, i, problem);
    std::vector<std::string> fields{p.kind,           p.series,       number_text(p.x),
                                    number_text(p.y), text_of(p.low), text_of(p.high),
                                    text_of(p.weight)};
    if (areas) fields.push_back(text_of(p.area));
    if (labels) fields.push_back(p.label);
    text += csv_line(fields);
  }
  atomic_write_text(path, text);
}

std::vector<FigurePoint> read_figure(const std::string& path) {
  const auto records = parse_csv(edited_text(read_text(path), path), path);
  DISSENT_CHECK(!records.empty(), kData, "{}: expected a header line, found an empty file", path);
  const auto& header = records[0].fields;
  const auto place_of = [&](const char* name) {
    return static_cast<size_t>(std::find(header.begin(), header.end(), name) - header.begin());
  };
  for (const char* name : {"kind", "series", "x", "y"})
    DISSENT_CHECK(place_of(name) < header.size(), kData,
                  "{}:{}: not a figure file: expected a column '{}', found none", path,
                  records[0].line, name);
  std::vector<FigurePoint> points;
  for (size_t i = 1; i < records.size(); ++i) {
    const auto& fields = records[i].fields;
    const auto place = fmt::format("{}:{}", path, records[i].line);
    DISSENT_CHECK(fields.size() == header.size(), kData,
                  "{0}: expected {2} columns as the header has, found {1}", place, fields.size(),
                  header.size());
    const auto optional = [&](const char* name) -> std::optional<double> {
      const size_t at = place_of(name);
      if (at == header.size() || fields[at].empty()) return std::nullopt;
      return number_of(fields[at], place, name);
    };
    points.push_back({fields[place_of("kind")], fields[place_of("series")],
                      number_of(fields[place_of("x")], place, "x"),
                      number_of(fields[place_of("y")], place, "y"), optional("low"),
                      optional("high"), optional("weight"), optional("area"),
                      place_of("label") < header.size() ? fields[place_of("label")] : ""});
    const auto problem = problem_of(points.back(), points.front().kind);
    DISSENT_CHECK(problem.empty(), kData, "{}: {}", place, problem);
  }
  DISSENT_CHECK(!points.empty(), kData, "{}: expected points, found none", path);
  return points;
}

}  // namespace dissent
