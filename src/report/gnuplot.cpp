#include "report/gnuplot.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "core/divide_up.hpp"
#include "core/enum_names.hpp"
#include "core/process.hpp"
#include "storage/atomic_file.hpp"

namespace dissent::report {
namespace {

constexpr double kTimeoutS = 3600;

void run_gnuplot(const std::string& script) {
  CapturedOutput output;
  try {
    output = run_captured({"gnuplot", script}, kTimeoutS);
  } catch (const Error& error) {
    // Most often the program is missing, so the message says what to install.
    DISSENT_FAIL(kData, "{}; plots are drawn by gnuplot 5.4 or later (Debian: gnuplot-nox)",
                 error.what());
  }

  const auto message = output.out + output.err;
  DISSENT_CHECK(output.code == 0, kData, "gnuplot {}: expected exit code 0, found {}: {}", script,
                output.code, message.empty() ? "no message" : message);
}

enum class PlotFormat { kPng, kSvg };
constexpr EnumName<PlotFormat> kPlotFormats[] = {{PlotFormat::kPng, ".png"},
                                                 {PlotFormat::kSvg, ".svg"}};

// Sizes are given in inches and points: an SVG has 96 pixels per inch, a PNG as many as requested.
std::string terminal(const Canvas& canvas, PlotFormat format) {
  if (format == PlotFormat::kSvg)
    return fmt::format(
        "set terminal svg size {},{} dynamic enhanced font 'DejaVu Sans,{}' background '#ffffff' "
        "linewidth 1\n",
        std::lround(canvas.width_in * 96), std::lround(canvas.height_in * 96),
        canvas.font_pt * 96 / 72);

  // fontscale, linewidth and pointscale of pngcairo are relative to 96 pixels per inch: dpi / 72
  // times 0.75.
  const double scale = canvas.dpi / 72.0;
  return fmt::format(
      "set terminal pngcairo size {},{} enhanced font 'DejaVu Sans,{}' fontscale {:.4f} linewidth "
      "{:.4f} pointscale {:.4f} dashlength 1.7 background '#ffffff'\n",
      std::lround(canvas.width_in * canvas.dpi), std::lround(canvas.height_in * canvas.dpi),
      canvas.font_pt, scale * 0.75, scale * 0.75, scale * 0.75);
}

const char* const kStyle =
    "set encoding utf8\n"
    "set border 3 linecolor rgb '#404040' linewidth 0.8\n"
    "set tics nomirror out scale 0.5 textcolor rgb '#202020'\n"
    "set grid back linetype 1 linecolor rgb '#e4e4e4' linewidth 0.6\n"
    "set format '%h'\n"
    "set key samplen 3 spacing 1.15 noenhanced textcolor rgb '#202020'\n"
    "set datafile missing 'NaN'\n";

void draw_one(const Canvas& canvas, const std::string& output, const std::string& body) {
  const auto extension = std::filesystem::path(output).extension().string();
  const auto format = value_in(kPlotFormats, extension);
  DISSENT_CHECK(format, kUsage, "--output: expected a name that ends in .png or .svg, found '{}'",
                output);

  const auto text = [&](const std::string& target) {
    return terminal(canvas, *format) + fmt::format("set output {}\n", quoted(target)) + style() +
           body + "unset output\n";
  };

  // Drawn under another name, so that a failure leaves an existing plot as it is.
  const std::string partial = output + ".partial", script = output + ".gp";
  atomic_write_text(script, text(partial));
  try {
    run_gnuplot(script);
    sync_and_rename(partial, output);
  } catch (...) {
    for (const auto& path : {partial, script}) remove_file(path);
    throw;
  }

  // The kept script draws the plot under its own name.
  if (canvas.keep_script)
    atomic_write_text(script, text(output));
  else
    remove_file(script);
}

}  // namespace

const char* style() { return kStyle; }

std::string quoted(const std::string& text) {
  std::string out = "'";

  // A quote is doubled; a line break would end the command.
  for (const char c : text) out += c == '\'' ? "''" : c == '\n' ? " " : std::string(1, c);
  return out + "'";
}

const char* series_colour(size_t index) {
  static const char* const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                        "#E69F00", "#56B4E9", "#000000", "#6A3D9A",
                                        "#8B4513", "#7F7F7F", "#B2182B", "#999933"};
  return colours[index % 12];
}

const char* series_dash(size_t index) {
  static const char* const dashes[] = {"solid", "(6,2)", "(2,1.5)", "(7,2,1.5,2)", "(10,3)"};
  return dashes[index % 5];
}

namespace {

// Columns of a legend that fit into the width of the canvas.
size_t legend_columns(const Canvas& canvas, const std::vector<std::string>& names) {
  size_t longest = 0;
  for (const auto& name : names) longest = std::max(longest, name.size());
  // A letter is about 0.62 of the font size wide, a sample of the line as wide as eight letters.
  // gnuplot keeps the legend within the axes, about three quarters of the width.
  const double entry_in = 0.62 * canvas.font_pt / 72 * static_cast<double>(longest + 8);
  const auto fit = static_cast<size_t>(canvas.width_in * 0.75 / entry_in);
  return std::clamp<size_t>(fit, 1, names.size());
}

}  // namespace

Header header(const Canvas& canvas, const std::vector<std::string>& names) {
  // From the top of the canvas downwards: title, legend, then the axes begin at `top`.
  const double line = 1.5 * canvas.font_pt / 72 / canvas.height_in;  // fraction of the height
  Header out;
  double at = 1 - 0.3 * line;
  if (!canvas.title.empty()) {
    out.script = fmt::format("set label {} at screen 0.5, screen {:.4f} center noenhanced\n",
                             quoted(canvas.title), at - 0.5 * line);
    at -= 1.2 * line;
  }

  if (names.empty()) {
    out.script += "unset key\n";
  } else {
    // Entries fill the legend row by row; its height follows from the number of rows.
    const size_t columns = legend_columns(canvas, names), rows = divide_up(names.size(), columns);
    out.script += fmt::format(
        "set key at screen 0.5, screen {:.4f} center top horizontal maxcols {} reverse Left\n", at,
        columns);
    at -= line * static_cast<double>(rows);
  }
  out.top = at - 0.4 * line;
  return out;
}

std::string margins(double left, double right, double bottom, double top) {
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\nset bmargin at screen "
      "{:.4f}\nset tmargin at screen {:.4f}\n",
      left, right, bottom, top);
}

void draw(const Canvas& canvas, const std::string& body) {
  for (const auto& output : canvas.outputs) draw_one(canvas, output, body);
}

}  // namespace dissent::report
