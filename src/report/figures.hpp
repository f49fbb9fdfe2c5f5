#pragma once
#include <optional>
#include <string>
#include <vector>

#include "report/gnuplot.hpp"
#include "report/result_set.hpp"
#include "report/table.hpp"
#include "storage/figure_data.hpp"

namespace dissent::report {

/// A line of a panel: points in the order of x; low and high, where given, are drawn as a band.
struct Line {
  std::string name;
  std::vector<FigurePoint> points;
  bool marks = false;  ///< a mark on every point: few measured points instead of a curve
};
/// Axes with lines.
struct Panel {
  std::string x_label, y_label;
  std::vector<Line> lines;
  bool whole_x = false;  ///< x are whole numbers (epochs, members)
};

/// Each gives the body of a gnuplot script (report/gnuplot.hpp), with the points in it, for a
/// canvas: its size and font say where labels fit. Panels side by side, two in a row, with one
/// legend above them; lines of the same name have the same colour.
std::string lines_script(const std::vector<Panel>& panels, const Canvas& canvas);
/// Accuracy over confidence with the diagonal, and the share of samples below. The legend has the
/// calibration error, sum of share |accuracy - confidence|.
std::string reliability_script(const std::vector<FigurePoint>& points, const Canvas& canvas);
/// Share of samples over the score, bin by bin.
std::string histogram_script(const std::vector<FigurePoint>& points, const Canvas& canvas,
                             const std::string& x_label);
/// True over false positives with the area below by trapezoids in the legend.
std::string roc_script(const std::vector<FigurePoint>& points, const Canvas& canvas);

/// Names of a legend without the pieces (between "-", "/" and "+"; "seed-3" is one) that all begin
/// or end with: "exp/de-seed-1-roc" and "exp/sdde-seed-1-roc" are "de" and "sdde". Something is
/// left of each.
std::vector<std::string> short_names(const std::vector<std::string>& names);
/// What figure files say of the x-axis (FigurePoint::label), if they say one thing; else "".
std::string axis_label(const std::vector<FigurePoint>& points);

/// Points of figure files of one kind; where two files have a series of one name, the file's name
/// tells them apart. Error::kUsage for another kind.
std::vector<FigurePoint> figure_points(const std::vector<std::string>& paths,
                                       const std::string& kind);

/// Curves of train.csv files (or the run folders that hold them), a panel a column: mean over the
/// runs of one folder (the seeds of an experiment) with a band of one sample standard deviation.
/// columns: empty for total, accuracy_ensemble, accuracy_mean, nll. Error::kData: no such column, a
/// file that is no training log.
std::vector<Panel> training_panels(const std::vector<std::string>& paths,
                                   const std::vector<std::string>& columns);

/// Gain against ensemble size, from result rows: predictor size:<k> or sub:<k>:<which> (ensembles
/// of k of the members; several of one size are averaged for each seed), the whole
/// `ensemble` at its number of members and `mean` at 1 where no such row says it. A line for each
/// set of values of `series` columns; the band is one sample standard deviation over seeds. One
/// metric and data set: Error::kUsage where the rows hold several.
std::vector<Panel> size_panels(const ResultSet& set, const std::vector<std::string>& series,
                               const std::vector<Condition>& where);

}  // namespace dissent::report
