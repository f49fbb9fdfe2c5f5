#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <dissent/error.hpp>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "cli/light_verbs.hpp"
#include "core/enum_names.hpp"
#include "core/options.hpp"
#include "report/arguments.hpp"
#include "report/event_file.hpp"
#include "report/plots.hpp"
#include "storage/atomic_file.hpp"
#include "storage/run_folder.hpp"

namespace dissent::cli {
namespace {

using Texts = std::vector<std::string>;

report::Canvas canvas_of(const CommandLine& line, double width, double height) {
  // Each kind has a usual size, which options override.
  report::Canvas canvas{.outputs = line.texts("output"),
                        .width_in = line.has("width") ? line.get<double>("width") : width,
                        .height_in = line.has("height") ? line.get<double>("height") : height,
                        .dpi = line.get<int>("dpi"),
                        .font_pt = line.get<double>("font"),
                        .title = line.get<std::string>("title"),
                        .keep_script = line.flag("keep-script")};

  DISSENT_CHECK(canvas.width_in >= 1 && canvas.width_in <= 40 && canvas.height_in >= 1 &&
                    canvas.height_in <= 40,
                kUsage, "--width, --height: expected 1 .. 40 inches, found {} x {}",
                canvas.width_in, canvas.height_in);
  DISSENT_CHECK(canvas.dpi >= 36 && canvas.dpi <= 1200, kUsage,
                "--dpi: expected 36 .. 1200, found {}", canvas.dpi);
  DISSENT_CHECK(canvas.font_pt >= 4 && canvas.font_pt <= 40, kUsage,
                "--font: expected 4 .. 40 points, found {}", canvas.font_pt);
  return canvas;
}

void curves(const CommandLine& line, const Texts& files) {
  const auto panels = report::training_panels(
      files, line.has("columns") ? report::comma_list(line.get<std::string>("columns")) : Texts{});
  const bool one = panels.size() == 1;

  // One panel as wide as a column of a paper, several in two columns.
  const auto canvas = canvas_of(line, one ? 4.2 : 6.8,
                                one ? 3 : 0.4 + 2.2 * static_cast<double>((panels.size() + 1) / 2));
  draw(canvas, report::lines_script(panels, canvas));
}

void size(const CommandLine& line, const Texts& files) {
  auto where = report::conditions(line.texts("where"));
  if (line.has("metric")) where.push_back({"metric", {line.get<std::string>("metric")}});

  const auto canvas = canvas_of(line, 4.2, 3);
  draw(canvas, report::lines_script(
                   report::size_panels(report::read_result_files(files),
                                       report::comma_list(line.get<std::string>("series")), where),
                   canvas));
}

// The label of --x-label, else that of the files.
std::string x_label_of(const CommandLine& line, const std::vector<PlotPoint>& points) {
  auto label = line.get<std::string>("x-label");
  if (label.empty()) label = report::axis_label(points);
  return label.empty() ? "score" : label;
}

// Inches that the default size gets for a legend above the axes.
struct LegendRoom {
  double width, height;
};
LegendRoom legend_room(const std::vector<PlotPoint>& points) {
  // gnuplot would shrink the axes to make room for a long legend.
  size_t longest = 0;
  std::set<std::string> series;
  for (const auto& point : points) {
    series.insert(point.series);
    longest = std::max(longest, point.series.size());
  }

  // About 0.07 inches per letter; more than four series take a line each.
  return {std::min(6.8, 0.07 * static_cast<double>(longest + 24)),
          series.size() > 4 ? 0.17 * static_cast<double>(series.size()) : 0};
}

void reliability(const CommandLine& line, const Texts& files) {
  const auto points = report::plot_points(files, PlotKind::kReliability);
  const auto legend = legend_room(points);

  // A legend makes the image higher, not the axes smaller.
  const auto canvas = canvas_of(line, std::max(3.4, legend.width), 4 + legend.height);
  draw(canvas, report::reliability_script(points, canvas));
}

void roc(const CommandLine& line, const Texts& files) {
  const auto points = report::plot_points(files, PlotKind::kRoc);
  const auto legend = legend_room(points);
  const auto canvas = canvas_of(line, std::max(3.4, legend.width), 3.4 + legend.height);
  draw(canvas, report::roc_script(points, canvas));
}

void histogram(const CommandLine& line, const Texts& files) {
  const auto points = report::plot_points(files, PlotKind::kHistogram);
  const auto canvas = canvas_of(line, 4.2, 3);
  draw(canvas, report::histogram_script(points, canvas, x_label_of(line, points)));
}

void saliency(const CommandLine& line, const Texts& files, DrawSaliency draw) {
  DISSENT_CHECK(files.size() == 1, kUsage, "plot saliency: expected one saliency file, found {}",
                files.size());

  std::vector<int64_t> images;
  if (line.has("images")) images = report::seed_list("--images", line.get<std::string>("images"));
  draw(files[0], images, line.get<int64_t>("members"), canvas_of(line, 6.8, 4));
}

bool is_run(const std::string& path) { return path_exists(path + "/" + kTrainLogFile); }

// The arguments behind the kind. --results takes all arguments up to the next option, so run
// folders among them are added.
Texts files_of(const CommandLine& line) {
  Texts files(line.positional().begin() + 1, line.positional().end());
  for (const auto& path : line.texts("results"))
    if (is_run(path)) files.push_back(path);
  return files;
}

Texts results_of(const CommandLine& line) {
  auto results = line.texts("results");
  std::erase_if(results, is_run);
  return results;
}

}  // namespace

namespace {

// The first argument of `dissent plot`.
enum class Drawing { kCurves, kSize, kReliability, kRoc, kHistogram, kSaliency, kTensorboard };
constexpr EnumName<Drawing> kDrawings[] = {
    {Drawing::kCurves, "curves"},           {Drawing::kSize, "size"},
    {Drawing::kReliability, "reliability"}, {Drawing::kRoc, "roc"},
    {Drawing::kHistogram, "histogram"},     {Drawing::kSaliency, "saliency"},
    {Drawing::kTensorboard, "tensorboard"}};

Drawing drawing_of(const CommandLine& line) {
  const auto& word = line.positional()[0];
  const auto near = nearest(word, name_list(kDrawings));
  const auto drawing = value_in(kDrawings, word);
  DISSENT_CHECK(drawing, kUsage, "plot: kind: expected one of {}, found '{}'{}",
                names_in(kDrawings), word, near ? fmt::format("; did you mean '{}'?", *near) : "");
  return *drawing;
}

}  // namespace

void check_plot(const CommandLine& line, Files& files) {
  // Sizes are checked with any default, because only those that are given can be wrong.
  const auto drawing = drawing_of(line);
  const auto& name = line.positional()[0];
  const auto outputs = line.texts("output");
  DISSENT_CHECK(!files_of(line).empty(), kUsage, "plot {}: expected files to draw, found none",
                name);
  DISSENT_CHECK(!outputs.empty(), kUsage, "plot {}: --output: expected a file to write, found none",
                name);

  if (drawing == Drawing::kTensorboard) {
    DISSENT_CHECK(outputs.size() == 1, kUsage,
                  "plot tensorboard: --output: expected one folder, found {}", outputs.size());
    for (const auto& path : results_of(line)) files.reads("--results", path);
  } else {
    canvas_of(line, 4, 4);
  }
  for (const auto& path : files_of(line)) files.reads_folder("FILE", path);
}

int run_plot(const CommandLine& line, DrawSaliency draw) {
  Files own;
  check_plot(line, own);
  const auto files = files_of(line), outputs = line.texts("output");
  switch (drawing_of(line)) {
    case Drawing::kCurves: curves(line, files); break;
    case Drawing::kSize: size(line, files); break;
    case Drawing::kReliability: reliability(line, files); break;
    case Drawing::kRoc: roc(line, files); break;
    case Drawing::kHistogram: histogram(line, files); break;
    case Drawing::kSaliency: saliency(line, files, draw); break;
    // One event file per run: their names are printed, not that of the folder.
    case Drawing::kTensorboard:
      for (const auto& path : report::write_event_files(files, results_of(line), outputs[0]))
        fmt::print("{}\n", path);
      return 0;
  }

  for (const auto& path : outputs) fmt::print("{}\n", path);
  return 0;
}

}  // namespace dissent::cli
