#pragma once
#include <optional>
#include <string>
#include <vector>

namespace dissent {

/// What the points of a plot file are.
enum class PlotKind { kReliability, kHistogram, kRoc, kCurve };
/// "reliability", "histogram", "roc", "curve": as the files have it.
const char* plot_kind_name(PlotKind kind);

/// One point of a plot: a row of a plot file, `figures/<name>.csv`, CSV with the header
/// kind,series,x,y,low,high,weight. All rows of a file have the same kind:
///
///   kind         a row is         x                y                 low, high     weight
///   reliability  a bin            mean confidence  accuracy          edges of bin  share
///   histogram    a bin            centre           share of samples  edges of bin
///   roc          a threshold      false positives  true positives    band of y
///   curve        a point of line  any              any               band of y
///
/// weight: share of the samples that are in this bin. area, of kind roc: below the whole curve, in
/// the first row of a series.
///
/// Shares and accuracies are fractions. The points of a series are in the order of x; empty bins
/// are left out. Fields that are not needed are empty; the columns area and label exist if a point
/// has one. label, in the first row of a file: name of the x-axis.
struct PlotPoint {
  PlotKind kind;
  std::string series;  ///< legend, as "ensemble" or "mnist (unknown)"
  double x = 0;
  double y = 0;
  std::optional<double> low = {};
  std::optional<double> high = {};
  std::optional<double> weight = {};
  std::optional<double> area = {};
  std::string label = {};
  bool operator==(const PlotPoint&) const = default;
};

/// Writes the file under a temporary name and renames it. One rank only. Error::kUsage: several
/// kinds, a bin without edges, low above high, an area outside of 0 .. 1; Error::kData: the disk.
void write_plot(const std::string& path, const std::vector<PlotPoint>& points);
/// Reads columns in any order; low, high, weight, area and label may be missing. Error::kData with
/// path, line and column, also for what write_plot refuses.
std::vector<PlotPoint> read_plot(const std::string& path);

}  // namespace dissent
