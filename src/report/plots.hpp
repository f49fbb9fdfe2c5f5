#pragma once
#include <optional>
#include <string>
#include <vector>

#include "report/gnuplot.hpp"
#include "report/result_set.hpp"
#include "report/table.hpp"
#include "storage/plot_data.hpp"

namespace dissent::report {

/// A line of a panel: points in the order of x. Where low and high are given, they are drawn as a
/// band.
struct Line {
  std::string name;
  std::vector<PlotPoint> points;
  bool marks = false;  ///< a mark at every point: for a few measured points
};
/// Axes with lines.
struct Panel {
  std::string x_label, y_label;
  std::vector<Line> lines;
  bool integer_x = false;  ///< x are integers (epochs, members)
};

// Each of the following returns the body of a gnuplot script (report/gnuplot.hpp) with its data,
// for a canvas, whose size and font decide where labels fit.

/// Panels side by side, two per row, with one legend above them; lines with the same name have the
/// same colour.
std::string lines_script(const std::vector<Panel>& panels, const Canvas& canvas);
/// Accuracy over confidence with the diagonal, and the share of samples below. The legend gives the
/// expected calibration error: the sum of share * |accuracy - confidence| over the bins.
std::string reliability_script(const std::vector<PlotPoint>& points, const Canvas& canvas);
/// Share of samples over the score, bin by bin.
std::string histogram_script(const std::vector<PlotPoint>& points, const Canvas& canvas,
                             const std::string& x_label);
/// True over false positives; the legend gives the area below the curve: that of the file, else by
/// trapezoids.
std::string roc_script(const std::vector<PlotPoint>& points, const Canvas& canvas);

/// Names for a legend, without the pieces (between "-", "/" and "+"; "seed-3" is one) that all
/// names have at their beginning or end: "exp/de-seed-1-roc" and "exp/sdde-seed-1-roc" become "de"
/// and "sdde". No name becomes empty.
std::vector<std::string> short_names(const std::vector<std::string>& names);
/// The name of the x-axis (PlotPoint::label), if all files have the same one; else "".
std::string axis_label(const std::vector<PlotPoint>& points);

/// Points of plot files of one kind. Where two files have a series with the same name, the file's
/// name is appended. Error::kUsage for a file of another kind.
std::vector<PlotPoint> plot_points(const std::vector<std::string>& paths, PlotKind kind);

/// Curves of train.csv files (or of run folders), one panel per column: the mean over the runs of
/// one folder (the seeds of an experiment) with a band of one sample standard deviation. columns:
/// if empty, total, accuracy_ensemble, accuracy_mean and nll. Error::kData: no such column, a file
/// that is not a training log.
std::vector<Panel> training_panels(const std::vector<std::string>& paths,
                                   const std::vector<std::string>& columns);

/// A metric over the ensemble size, from result rows: predictor size:<k> or sub:<k>:<which>
/// (ensembles of k of the members; several of one size are averaged per seed), the whole `ensemble`
/// at its number of members and `mean` at 1 where no such row exists. One line per combination of
/// values in the columns `series`; the band is one sample standard deviation over seeds.
/// Error::kUsage if the rows have several metrics, data sets, scores, conventions or splits that
/// `series` does not name; Error::kData if no row has a size.
std::vector<Panel> size_panels(const ResultSet& set, const std::vector<std::string>& series,
                               const std::vector<Condition>& where);

}  // namespace dissent::report
