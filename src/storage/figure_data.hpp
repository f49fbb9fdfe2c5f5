#pragma once
#include <optional>
#include <string>
#include <vector>

namespace dissent {

/// One point of a figure: a row of a figure file, `figures/<name>.csv`, CSV with the header
/// kind,series,x,y,low,high,weight. All rows of a file are of one kind:
///
///   kind   a row is   x   y   low, high   weight
///   reliability  a bin   mean confidence   accuracy   edges of the bin
///       share of the series' samples
///   histogram   a bin   centre   share of the samples   edges of the bin
///   roc          a threshold         false positives    true positives (shares)    band of y
///       (area: below the whole curve, in the first row of a series)
///   curve        a point of a line   any                any                        band of y
///
/// Shares and accuracies are fractions. Points of a series stand in the order of x; empty bins are
/// left out. Fields that are not needed are empty; the columns area and label are there where a
/// point has one. label, in the first row of a file: what the x-axis says.
struct FigurePoint {
  std::string kind;
  std::string series;  ///< legend, as "ensemble" or "mnist (unknown)"
  double x = 0;
  double y = 0;
  std::optional<double> low = {};
  std::optional<double> high = {};
  std::optional<double> weight = {};
  std::optional<double> area = {};
  std::string label = {};
  bool operator==(const FigurePoint&) const = default;
};

/// Writes the file whole and renames it. One rank only. Error::kUsage: an unknown kind, several
/// kinds, a bin without edges, low above high, an area outside of 0 .. 1; Error::kData: the disk.
void write_figure(const std::string& path, const std::vector<FigurePoint>& points);
/// Columns in any order; low, high, weight, area and label may be missing. Error::kData naming
/// path, line and column, for what write_figure refuses too.
std::vector<FigurePoint> read_figure(const std::string& path);

}  // namespace dissent
