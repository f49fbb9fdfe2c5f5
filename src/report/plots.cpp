#include "report/plots.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <map>
#include <utility>

#include <fmt/ranges.h>

namespace dissent::report {
namespace {

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{:.9g}", *value) : "NaN";
}

// A data block of the script with the columns x y low high weight.
std::string block(const std::string& name, const std::vector<const PlotPoint*>& points) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const auto* p : points)
    text += fmt::format("{:.9g} {:.9g} {} {} {}\n", p->x, p->y, number(p->low), number(p->high),
                        number(p->weight));
  return text + "EOD\n";
}

// Name and points of each series, in the order of the file.
using Series = std::vector<std::pair<std::string, std::vector<const PlotPoint*>>>;

Series series_of(const std::vector<PlotPoint>& points) {
  Series series;
  for (const auto& point : points) {
    auto at = std::find_if(series.begin(), series.end(),
                           [&](const auto& entry) { return entry.first == point.series; });
    if (at == series.end()) at = series.insert(series.end(), {point.series, {}});
    at->second.push_back(&point);
  }
  return series;
}

std::string blocks(const Series& series) {
  std::string text;
  for (size_t i = 0; i < series.size(); ++i) text += block(fmt::format("s{}", i), series[i].second);
  return text;
}

// Space for the labels of an axis (numbers and a name), as a fraction of the canvas.
double left_room(const Canvas& canvas) { return 5.6 * canvas.font_pt / 72 / canvas.width_in; }
double bottom_room(const Canvas& canvas) { return 4.3 * canvas.font_pt / 72 / canvas.height_in; }
double line_room(const Canvas& canvas) { return canvas.font_pt / 72 / canvas.height_in; }

// A step of 1, 2 or 5 times a power of ten that divides a range into about four parts.
double step_of(double range) {
  const double power = std::pow(10, std::floor(std::log10(range / 4)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (range / (factor * power) <= 5) return factor * power;
  return 10 * power;
}

// Whether the legend fits inside the axes; else it is placed above.
bool fits_inside(const std::vector<std::string>& names) {
  return names.size() <= 4 && std::all_of(names.begin(), names.end(),
                                          [](const auto& name) { return name.size() <= 32; });
}
std::string stroke(size_t i) {
  return fmt::format("linecolor rgb '{}' dashtype {} linewidth 2", series_colour(i),
                     series_dash(i));
}

// Filled marks, then open ones.
std::string mark(size_t i) {
  static constexpr int kMarks[] = {5, 7, 9, 11, 13, 4, 6, 8, 10, 12};
  return fmt::format("pointtype {} pointsize 0.9", kMarks[i % std::size(kMarks)]);
}
// More lines than this also get marks, to be distinguishable.
constexpr size_t kPlainLines = 6;

// The outline of bins as x y of each corner; it goes down to 0 where empty bins are left out.
std::string outline_block(const std::string& name, const std::vector<const PlotPoint*>& bins,
                          bool weights) {
  std::string text = fmt::format("${} << EOD\n", name);
  const auto put = [&](double x, double y) { text += fmt::format("{:.9g} {:.9g}\n", x, 100 * y); };
  double end = NAN;
  for (const auto* bin : bins) {
    // A gap before this bin: down to 0 at its beginning and up again at its end.
    if (*bin->low != end) {
      if (!std::isnan(end)) put(end, 0);
      put(*bin->low, 0);
    }
    const double height = weights ? bin->weight.value_or(NAN) : bin->y;
    put(*bin->low, height);
    put(*bin->high, height);
    end = *bin->high;
  }
  put(end, 0);
  return text + "EOD\n";
}

std::string outline(size_t i, const std::string& name, const std::string& title) {
  return fmt::format("${} using 1:2 with lines {} {}", name, stroke(i), title);
}

// Title and legend as a separate plot over the whole width, within a multiplot, because gnuplot
// keeps a legend within the axes of its plot.
std::string legend_plot(const Header& above, const std::vector<std::string>& names, bool marks) {
  std::vector<std::string> entries;
  for (size_t i = 0; i < names.size(); ++i)
    entries.push_back(fmt::format("NaN with {} {} {} title {}", marks ? "linespoints" : "lines",
                                  stroke(i), marks ? mark(i) : "", quoted(names[i])));

  // A plot of NaN draws only the legend; the settings of the axes are restored for the plots
  // after it.
  return above.script + margins(0.01, 0.99, 0.01, 0.99) +
         "set border 0\nunset xtics\nunset ytics\nunset grid\nset xrange [0:1]\nset yrange "
         "[0:1]\n" +
         fmt::format("plot {}\n", fmt::join(entries, ", \\\n  ")) +
         "unset label\nset autoscale\nset xtics nomirror\nset ytics nomirror\n" + style() +
         "unset key\n";
}

// Bars between the edges of the bins.
std::string bars(size_t i, const char* height, const std::string& title) {
  return fmt::format(
      "$s{0} using 1:{1}:3:4:(0):{1} with boxxyerror fillcolor rgb '{2}' fillstyle transparent "
      "solid 0.35 border linecolor rgb '{2}' linewidth 0.6 {3}",
      i, height, series_colour(i), title);
}

constexpr size_t kMostBars = 3;  // more series hide each other's bars

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("plot {}\n", fmt::join(parts, ", \\\n  "));
}

double calibration_error(const std::vector<const PlotPoint*>& bins) {
  double error = 0;
  for (const auto* bin : bins) error += bin->weight.value_or(NAN) * std::abs(bin->y - bin->x);
  return error;
}

// The area of the file, else computed by trapezoids.
double area(const std::vector<const PlotPoint*>& points) {
  if (points.front()->area) return *points.front()->area;
  double sum = 0;
  for (size_t i = 1; i < points.size(); ++i)
    sum += (points[i]->x - points[i - 1]->x) * (points[i]->y + points[i - 1]->y) / 2;
  return sum;
}

std::string band(const std::string& block_name, size_t colour) {
  return fmt::format(
      "${} using 1:3:4 with filledcurves fillcolor rgb '{}' fillstyle transparent solid 0.18 "
      "noborder notitle",
      block_name, series_colour(colour));
}

// Some seven marks along a curve, at other places of each curve.
std::string sparse_marks(size_t colour, size_t points) {
  return fmt::format("{} pointinterval {}", mark(colour), points / 7 + 1);
}

std::string line_stroke(const Line& line, const std::string& block_name, size_t colour,
                        bool marked) {
  std::string marks;
  if (line.marks)
    marks = mark(colour);
  else if (marked)
    marks = sparse_marks(colour, line.points.size());
  return fmt::format("${} using 1:2 with {} {} {} title {}", block_name,
                     marked ? "linespoints" : "lines", stroke(colour), marks, quoted(line.name));
}

// Range of x over all lines.
double x_range(const Panel& panel) {
  double low = INFINITY, high = -INFINITY;
  for (const auto& line : panel.lines)
    for (const auto& point : line.points) {
      low = std::min(low, point.x);
      high = std::max(high, point.x);
    }
  return high - low;
}

// names: those of the legend, whose order gives the colours.
std::string panel_script(const Panel& panel, const std::vector<std::string>& names, size_t number) {
  std::string text;
  std::vector<std::string> bands, strokes;
  for (size_t i = 0; i < panel.lines.size(); ++i) {
    const auto& line = panel.lines[i];

    // The same series has the same colour in all panels.
    const auto colour =
        static_cast<size_t>(std::find(names.begin(), names.end(), line.name) - names.begin());
    const auto block_name = fmt::format("p{}l{}", number, i);
    std::vector<const PlotPoint*> points;
    for (const auto& point : line.points) points.push_back(&point);
    text += block(block_name, points);

    const bool has_band = std::any_of(line.points.begin(), line.points.end(),
                                      [](const auto& point) { return point.low.has_value(); });
    if (has_band) bands.push_back(band(block_name, colour));
    const bool marked = line.marks || names.size() > kPlainLines;
    strokes.push_back(line_stroke(line, block_name, colour, marked));
  }

  // noenhanced: gnuplot would take an underscore of a name for a subscript.
  text += fmt::format("set xlabel {} noenhanced offset 0,0.35\nset ylabel {} noenhanced\n",
                      quoted(panel.x_label), quoted(panel.y_label));

  // gnuplot would put tics between two epochs.
  if (panel.integer_x) {
    const double range = x_range(panel);
    text += fmt::format("set xtics {}\n", range <= 10 ? 1 : step_of(range));
  }

  // Bands first, so that all lines are drawn over them.
  bands.insert(bands.end(), strokes.begin(), strokes.end());
  return text + joined(bands);
}

}  // namespace

std::string lines_script(const std::vector<Panel>& panels, const Canvas& canvas) {
  // All panels share one legend; the order in which series appear gives their colours.
  std::vector<std::string> names;
  for (const auto& panel : panels)
    for (const auto& line : panel.lines)
      if (std::find(names.begin(), names.end(), line.name) == names.end())
        names.push_back(line.name);
  const auto legend = names.size() > 1 ? short_names(names) : std::vector<std::string>{};

  // The legend shows marks if the lines have them.
  const bool marks = names.size() > kPlainLines ||
                     std::any_of(panels.begin(), panels.end(), [](const auto& panel) {
                       return !panel.lines.empty() && panel.lines[0].marks;
                     });

  const auto above = header(canvas, legend);
  std::string text =
      "set multiplot\n" + (names.size() > 1 ? legend_plot(above, legend, marks) : above.script);

  // The space below the legend is divided into equal cells, two per row.
  const double across = panels.size() == 1 ? 1 : 2;
  const double down = std::ceil(static_cast<double>(panels.size()) / across);
  const double width = 1 / across, height = above.top / down;
  for (size_t p = 0; p < panels.size(); ++p) {
    const double column = static_cast<double>(p % 2), row = static_cast<double>(p / 2),
                 top = above.top - row * height;
    text += margins(column * width + left_room(canvas), (column + 1) * width - line_room(canvas),
                    top - height + bottom_room(canvas), top - 0.5 * line_room(canvas));
    text += panel_script(panels[p], names, p) + "unset label\n";
  }
  return text + "unset multiplot\n";
}

namespace {

constexpr const char* kDiagonal =
    "x with lines linecolor rgb '#808080' dashtype (2,4) linewidth 1.2 notitle";

// The plot commands of a reliability diagram.
struct ReliabilityParts {
  std::vector<std::string> lines{kDiagonal};  // accuracy over confidence
  std::vector<std::string> shares;            // share of samples per bin
  std::vector<std::string> names;             // legend
  std::string outlines;                       // data blocks of `shares`
  double largest_share = 0;                   // per cent
};

ReliabilityParts reliability_parts(const Series& series) {
  ReliabilityParts parts;
  for (size_t i = 0; i < series.size(); ++i) {
    const auto& [series_name, bins] = series[i];
    const double error = calibration_error(bins);
    const auto name = std::isnan(error)
                          ? series_name
                          : fmt::format("{} (ECE {:.1f} %)", series_name, 100 * error);
    parts.names.push_back(name);
    parts.lines.push_back(fmt::format("$s{} using 1:2 with linespoints {} {} title {}", i,
                                      stroke(i), mark(i), quoted(name)));
    if (std::isnan(error)) continue;  // a file without weights

    // The bars of several series would hide each other.
    if (series.size() == 1) {
      parts.shares.push_back(bars(i, "(100*$5)", "notitle"));
    } else {
      const auto block_name = fmt::format("o{}", i);
      parts.outlines += outline_block(block_name, bins, true);
      parts.shares.push_back(outline(i, block_name, "notitle"));
    }
    for (const auto* bin : bins)
      parts.largest_share = std::max(parts.largest_share, 100 * *bin->weight);
  }
  return parts;
}

}  // namespace

std::string reliability_script(const std::vector<PlotPoint>& points, const Canvas& canvas) {
  const auto series = series_of(points);
  const auto parts = reliability_parts(series);

  // Without weights of the bins there is only the upper plot.
  const bool has_shares = !parts.shares.empty(), inside = fits_inside(parts.names);
  const auto above = header(canvas, inside ? std::vector<std::string>{} : parts.names);

  // With shares the canvas is divided at a third: accuracy above, shares below with the x-axis.
  const double middle = has_shares ? 0.34 : bottom_room(canvas), left = left_room(canvas),
               right = 1 - line_room(canvas);

  // The two plots share the x-axis, so the upper one has no numbers on it.
  std::string text =
      blocks(series) + parts.outlines + "set multiplot\n" +
      (inside ? above.script : legend_plot(above, parts.names, true)) +
      margins(left, right, middle, above.top) +
      "set xrange [0:1]\nset yrange [0:1]\nset ylabel 'accuracy'\n" +
      (inside ? "set key left top reverse Left\n" : "") +
      (has_shares ? "set format x ''\n" : "set xlabel 'confidence' offset 0,0.35\n") +
      joined(parts.lines);
  if (has_shares)
    text +=
        "unset label\nunset key\nset format x '%h'\nset xlabel 'confidence' offset 0,0.35\nset "
        "ylabel 'samples (%)'\n" +
        margins(left, right, bottom_room(canvas), middle - 1.5 * line_room(canvas)) +
        fmt::format("set yrange [0:*]\nset ytics {}\n", step_of(parts.largest_share)) +
        joined(parts.shares);
  return text + "unset multiplot\n";
}

std::string histogram_script(const std::vector<PlotPoint>& points, const Canvas& canvas,
                             const std::string& x_label) {
  const auto series = series_of(points);
  std::vector<std::string> parts, names;
  std::string outlines;

  // Bars of more than three series would hide each other: they are drawn as outlines.
  for (size_t i = 0; i < series.size(); ++i) {
    const auto title = "title " + quoted(series[i].first);
    names.push_back(series[i].first);
    if (series.size() <= kMostBars) {
      parts.push_back(bars(i, "(100*$2)", title));
      continue;
    }
    outlines += outline_block(fmt::format("o{}", i), series[i].second, false);
    parts.push_back(outline(i, fmt::format("o{}", i), title));
  }

  const auto above = header(canvas, names);
  return blocks(series) + outlines + above.script +
         margins(left_room(canvas), 1 - line_room(canvas), bottom_room(canvas), above.top) +
         fmt::format(
             "set xlabel {} noenhanced offset 0,0.35\nset ylabel 'samples (%)'\nset yrange [0:*]\n",
             quoted(x_label)) +
         joined(parts);
}

std::string roc_script(const std::vector<PlotPoint>& points, const Canvas& canvas) {
  const auto series = series_of(points);
  const bool marked = series.size() > kPlainLines;
  std::vector<std::string> bands, lines{kDiagonal}, names;
  for (size_t i = 0; i < series.size(); ++i) {
    const auto& curve = series[i].second;
    names.push_back(fmt::format("{} (AUROC {:.4f})", series[i].first, area(curve)));
    if (curve.front()->low) bands.push_back(band(fmt::format("s{}", i), i));
    const auto marks = marked ? " " + sparse_marks(i, curve.size()) : "";
    lines.push_back(fmt::format("$s{} using 1:2 with {} {}{} title {}", i,
                                marked ? "linespoints" : "lines", stroke(i), marks,
                                report::quoted(names[i])));
  }

  // Bands first, so that all lines are drawn over them.
  bands.insert(bands.end(), lines.begin(), lines.end());

  const bool inside = fits_inside(names);
  const auto above = header(canvas, inside ? std::vector<std::string>{} : names);

  // Which inputs are positive, if all files agree on it.
  const auto label = axis_label(points);
  const auto x_label =
      label.empty() ? "false positive rate" : fmt::format("false positive rate ({})", label);
  return blocks(series) +
         (inside ? above.script : "set multiplot\n" + legend_plot(above, names, marked)) +
         margins(left_room(canvas), 1 - 1.5 * line_room(canvas), bottom_room(canvas), above.top) +
         "set xrange [0:1]\nset yrange [0:1]\n" +
         fmt::format("set xlabel {} noenhanced offset 0,0.35\nset ylabel 'true positive rate'\n",
                     quoted(x_label)) +
         (inside ? "set key right bottom reverse Left\n" : "") + joined(bands) +
         (inside ? "" : "unset multiplot\n");
}

namespace {

// The pieces of a name between "-", "/" and "+"; "seed-3" is one.
std::vector<std::string> pieces_of(const std::string& name) {
  std::vector<std::string> pieces{""};
  for (size_t i = 0; i < name.size(); ++i) {
    pieces.back() += name[i];
    const bool end = name[i] == '-' || name[i] == '/' || name[i] == '+';
    if (end && i + 1 < name.size() && !(pieces.back() == "seed-" && std::isdigit(name[i + 1])))
      pieces.emplace_back();
  }
  return pieces;
}

}  // namespace

std::vector<std::string> short_names(const std::vector<std::string>& names) {
  const bool differ =
      std::any_of(names.begin(), names.end(), [&](const auto& name) { return name != names[0]; });
  if (!differ) return names;

  std::vector<std::vector<std::string>> pieces;
  for (const auto& name : names) pieces.push_back(pieces_of(name));
  const auto all_have_same = [&](const auto& piece_of) {
    return std::all_of(pieces.begin(), pieces.end(), [&](const auto& own) {
      return own.size() > 1 && piece_of(own) == piece_of(pieces[0]);
    });
  };

  // Removes what all names have in common, from the end and from the beginning.
  while (all_have_same([](const auto& own) { return own.back(); }))
    for (auto& own : pieces) own.pop_back();
  while (all_have_same([](const auto& own) { return own.front(); }))
    for (auto& own : pieces) own.erase(own.begin());

  // A piece ends with its separator, which the last one of a name does not need.
  std::vector<std::string> out;
  for (const auto& own : pieces) {
    out.push_back(fmt::format("{}", fmt::join(own, "")));
    const size_t last = out.back().find_last_not_of("-/+");
    if (last != std::string::npos) out.back().resize(last + 1);
  }
  return out;
}

std::string axis_label(const std::vector<PlotPoint>& points) {
  std::string label;
  for (const auto& point : points) {
    if (point.label.empty() || point.label == label) continue;
    if (!label.empty()) return "";
    label = point.label;
  }
  return label;
}

std::vector<PlotPoint> plot_points(const std::vector<std::string>& paths, PlotKind kind) {
  std::vector<std::vector<PlotPoint>> files;
  std::vector<std::string> names;
  for (const auto& path : paths) names.push_back(std::filesystem::path(path).stem().string());
  names = short_names(names);

  std::map<std::string, int> owners;  // number of files with a series of this name
  for (const auto& path : paths) {
    files.push_back(read_plot(path));
    DISSENT_CHECK(files.back()[0].kind == kind, kUsage,
                  "{0}: expected points of kind {2}, found {1}", path,
                  plot_kind_name(files.back()[0].kind), plot_kind_name(kind));
    for (const auto& [name, points] : series_of(files.back())) ++owners[name];
  }

  // A series that several files have is named after its file too.
  std::vector<PlotPoint> all;
  for (size_t f = 0; f < files.size(); ++f)
    for (auto& point : files[f]) {
      if (owners[point.series] > 1) point.series += " (" + names[f] + ")";
      all.push_back(std::move(point));
    }
  return all;
}

}  // namespace dissent::report
