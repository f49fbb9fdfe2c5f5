#pragma once
#include <string>
#include <vector>

namespace dissent::report {

/// The files and the size of a plot. The extension of a path gives the format: .png or .svg.
struct Canvas {
  std::vector<std::string> outputs;
  double width_in = 5;
  double height_in = 3.6;
  int dpi = 300;  ///< of PNG
  double font_pt = 8;
  std::string title = {};
  bool keep_script = false;  ///< keeps <output>.gp next to each output
};

/// Runs gnuplot once for each output on a script: terminal and style, then `body`. The script holds
/// its data, so that a kept script draws the plot without other files. Outputs appear complete or
/// not at all. Error::kUsage: an extension that is neither .png nor .svg; Error::kData: gnuplot is
/// not installed, or reports an error.
void draw(const Canvas& canvas, const std::string& body);

/// The beginning of every plot: borders, tics, grid, the look of the legend (which it turns on).
const char* style();
/// Text in quotes, as a script has it.
std::string quoted(const std::string& text);
/// "#0072B2": the seven colours of Okabe and Ito, which are distinguishable with any kind of colour
/// vision, then five more; they repeat after 12.
const char* series_colour(size_t index);
/// Dash pattern ("solid", "(6,2)"), so that series differ without colours too: one of five, so that
/// colour and pattern together repeat after 60.
const char* series_dash(size_t index);

/// The lines above a plot: its title, and the legend in as many columns as fit. names: entries of
/// the legend; empty: no legend.
struct Header {
  std::string script;  ///< places title and key; the key belongs to the next plot command
  double top = 1;      ///< upper end of the space below it, as a fraction of the height
};
Header header(const Canvas& canvas, const std::vector<std::string>& names);
/// Fractions of the canvas for margins, so that labels of the canvas' font fit: "set lmargin at
/// screen 0.12" and so on.
std::string margins(double left, double right, double bottom, double top);

}  // namespace dissent::report
