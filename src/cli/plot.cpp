#include <cstdio>
#include <filesystem>
#include <set>

#include "cli/verb.hpp"
#include "report/arguments.hpp"
#include "report/event_file.hpp"
#include "report/figures.hpp"
#include "report/saliency_figure.hpp"

namespace dissent::cli {
namespace {

namespace po = boost::program_options;
using Texts = std::vector<std::string>;

const char* const kDescription =
    "Draws figures with gnuplot, or writes TensorBoard's event files. KIND and what it reads:\n"
    "  curves       run folders or train.csv: losses and figures over epochs, mean and deviation "
    "over the runs of a folder\n"
    "  size         result files: a metric over the number of members (predictors size:<k>, "
    "ensemble, mean)\n"
    "  reliability  figure files of `dissent evaluate`: accuracy over confidence\n"
    "  roc          figure files: true over false positives\n"
    "  histogram    figure files: distribution of a score\n"
    "  saliency     a saliency file: the maps of the members over the images\n"
    "  tensorboard  run folders: event files below the folder --output";

void add_options(CommandLine& line) {
  line.add()("output,o", po::value<Texts>()->composing(),
             "NAME.png or NAME.svg; may be given again; tensorboard: a folder")(
      "title", po::value<std::string>()->default_value(""), "above the figure")(
      "width", po::value<double>(), "inches")("height", po::value<double>(), "inches")(
      "dpi", po::value<int>()->default_value(300), "of PNG")(
      "font", po::value<double>()->default_value(8), "size of text, points")(
      "keep-script", po::bool_switch(),
      "leave the gnuplot script, with its data, beside the figure: NAME.png.gp")(
      "columns", po::value<std::string>(),
      "curves: columns of train.csv, a panel each, as total,nll")(
      "series", po::value<std::string>()->default_value("method"),
      "size: result columns whose values make a line each")("metric", po::value<std::string>(),
                                                            "size: one metric, as auroc")(
      "where,w", po::value<Texts>()->composing(),
      "size: column=value or column=a,b; may be given again")(
      "x-label", po::value<std::string>()->default_value("score"), "histogram: name of the score")(
      "images", po::value<std::string>(),
      "saliency: places of the images in the file, as 0,3,7; default: the first four")(
      "members", po::value<int64_t>()->default_value(8),
      "saliency: members that are shown at most")(
      "results", po::value<Texts>()->composing(),
      "tensorboard: result files whose rows go to their runs");
}

Texts texts(const CommandLine& line, const std::string& name) {
  return line.has(name) ? line.get<Texts>(name) : Texts{};
}

report::Canvas canvas_of(const CommandLine& line, double width, double height) {
  report::Canvas canvas{.outputs = texts(line, "output"),
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
  const auto canvas = canvas_of(line, one ? 4.2 : 6.8,
                                one ? 3 : 0.4 + 2.2 * static_cast<double>((panels.size() + 1) / 2));
  draw(canvas, report::lines_script(panels, canvas));
}

void size(const CommandLine& line, const Texts& files) {
  auto where = report::conditions(texts(line, "where"));
  if (line.has("metric")) where.push_back({"metric", {line.get<std::string>("metric")}});
  const auto canvas = canvas_of(line, 4.2, 3);
  draw(canvas, report::lines_script(
                   report::size_panels(report::read_result_files(files),
                                       report::comma_list(line.get<std::string>("series")), where),
                   canvas));
}

void binned(const CommandLine& line, const std::string& kind, const Texts& files) {
  const auto points = report::figure_points(files, kind);
  // Room for a legend above: about 0.07 inches a letter, and beyond four series a line each.
  size_t longest = 0;
  std::set<std::string> series;
  for (const auto& point : points)
    series.insert(point.series), longest = std::max(longest, point.series.size());
  const double legend = std::min(6.8, 0.07 * static_cast<double>(longest + 24)),
               lines = series.size() > 4 ? 0.17 * static_cast<double>(series.size()) : 0;
  const auto canvas = kind == "histogram" ? canvas_of(line, 4.2, 3)
                                          : canvas_of(line, std::max(3.4, legend),
                                                      (kind == "roc" ? 3.4 : 4) + lines);
  if (kind == "reliability")
    draw(canvas, report::reliability_script(points, canvas));
  else if (kind == "roc")
    draw(canvas, report::roc_script(points, canvas));
  else
    draw(canvas, report::histogram_script(points, canvas, line.get<std::string>("x-label")));
}

void saliency(const CommandLine& line, const Texts& files) {
  DISSENT_CHECK(files.size() == 1, kUsage, "plot saliency: expected one saliency file, found {}",
                files.size());
  std::vector<int64_t> images;
  if (line.has("images")) images = report::seed_list("--images", line.get<std::string>("images"));
  report::draw_saliency(files[0], images, line.get<int64_t>("members"), canvas_of(line, 6.8, 4));
}

void plot(const CommandLine& line) {
  const std::string kind = line.positional()[0];
  const Texts files(line.positional().begin() + 1, line.positional().end()),
      kinds{"curves", "size", "reliability", "roc", "histogram", "saliency", "tensorboard"};
  const auto near = nearest(kind, kinds);
  DISSENT_CHECK(std::find(kinds.begin(), kinds.end(), kind) != kinds.end(), kUsage,
                "plot: unknown kind '{}'{}; kinds: {}", kind,
                near ? fmt::format("; did you mean '{}'?", *near) : "", fmt::join(kinds, ", "));
  DISSENT_CHECK(!files.empty(), kUsage, "plot {}: expected files to draw, found none", kind);
  const auto outputs = texts(line, "output");
  DISSENT_CHECK(!outputs.empty(), kUsage, "plot {}: --output is missing", kind);
  if (kind == "tensorboard") {
    DISSENT_CHECK(outputs.size() == 1, kUsage,
                  "plot tensorboard: expected one folder in --output, found {}", outputs.size());
    for (const auto& path : report::write_event_files(files, texts(line, "results"), outputs[0]))
      fmt::print("{}\n", path);
    return;
  }
  if (kind == "curves")
    curves(line, files);
  else if (kind == "size")
    size(line, files);
  else if (kind == "saliency")
    saliency(line, files);
  else
    binned(line, kind, files);
  for (const auto& path : outputs) fmt::print("{}\n", path);
}

}  // namespace

int run_plot(Runtime& runtime, const std::vector<std::string>& arguments) {
  CommandLine line(verb("plot"), kDescription, "KIND FILE...", -1);
  add_options(line);
  if (!line.parse(runtime, arguments)) return 0;
  agree(runtime.world(), [&] {
    if (runtime.world().rank() == 0) plot(line);
  });
  return 0;
}

}  // namespace dissent::cli
