#pragma once
#include <string>
#include <vector>

namespace dissent::report {

/// Where a figure goes and how large it is. The ending of a path says what is written: .png or
/// .svg.
struct Canvas {
  std::vector<std::string> outputs;
  double width_in = 5;
  double height_in = 3.6;
  int dpi = 300;  ///< of PNG
  double font_pt = 8;
  std::string title = {};
  bool keep_script = false;  ///< leaves <output>.gp beside each output
};

/// Runs gnuplot once for each output on a script: terminal and style, then `body`. The script holds
/// its data, so that a kept one draws the figure by itself. Outputs appear whole or not at all.
/// Error::kUsage: an ending that is neither .png nor .svg; Error::kData: gnuplot is not there, or
/// what it says.
void draw(const Canvas& canvas, const std::string& body);

/// What every figure begins with: borders, tics, grid, the look of the legend (which it turns on).
const char* style();
/// Text in a script, in quotes.
std::string quoted(const std::string& text);
/// Okabe and Ito's colours, told apart with any kind of colour vision, in the order of use:
/// "#0072B2"; five more after these seven, which repeat after 12.
const char* series_colour(size_t index);
/// Dash pattern ("solid", "(6,2)"), so that series differ without colours too: one of five, so
/// colour and pattern together repeat after 60.
const char* series_dash(size_t index);

/// The lines above a figure: its title, and the legend in as many columns as fit. names: of the
/// legend; empty: none.
struct Header {
  std::string script;  ///< places title and key; the key goes with the next plot
  double top = 1;      ///< of what is left below it, as a fraction of the height
};
Header header(const Canvas& canvas, const std::vector<std::string>& names);
/// Fractions of the canvas for margins, so that labels of the canvas' font fit: "set lmargin at
/// screen 0.12" and so on.
std::string margins(double left, double right, double bottom, double top);

}  // namespace dissent::report
