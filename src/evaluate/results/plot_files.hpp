#pragma once
#include <dissent/metrics/reliability.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "evaluate/values/metric_values.hpp"
#include "storage/plot_data.hpp"

namespace dissent {

/// The data of a plot, to be written to <output>/figures/<name>.csv.
struct PlotFile {
  std::string name;
  std::vector<PlotPoint> points;
};

/// The ensemble's predictions and scores on one set, all its files, for plots and comparisons: [N]
/// f64 each.
struct SetScores {
  std::string name;
  Shift shift = Shift::kId;
  at::Tensor correct;  ///< whether predictions are correct; undefined without labels
  std::vector<at::Tensor>
      scores;  ///< in the order of the evaluation's scores; empty for a set with some classes
  std::vector<int64_t> file_rows = {};  ///< rows of each file; empty: one file
};

/// Part of a file name: every character other than letters, digits and ._+ becomes -.
std::string file_part(std::string text);

/// Identifies a run.
struct RunKey {
  std::string run, method, config_hash;
  int64_t seed = 0;
  bool operator==(const RunKey&) const = default;
};
/// Names of runs for people: "seed-3"; "a2d+cross_entropy/seed-3" if a run of another method has
/// the same name; followed by the configuration's hash, or the seed, if only these differ. Equal
/// keys get equal names.
std::vector<std::string> run_labels(const std::vector<RunKey>& runs);
/// The same for files ("a2d+cross_entropy-seed-3"), all different: "+" is added.
std::vector<std::string> file_names(const std::vector<LoadedEnsemble>& ensembles);

/// The non-empty bins as points of a series.
std::vector<PlotPoint> reliability_points(const std::string& series,
                                          const std::vector<metrics::ReliabilityBin>& bins);
/// ROC of unknown (positive) against known scores, from 0, 0 to 1, 1. Several lists of unknown
/// scores (the files of a set): the mean of their curves, whose area is the mean of their AUROCs.
/// At most 2,000 corners are all points; of more corners the first of each thousandth along x + y
/// is kept, with one point between neighbours that preserves the area of the omitted corners, so
/// that no point is outside of the box between its neighbours. The first point has the area: that
/// of the result row, to the last bit. Error::kData if a list is empty or has a NaN.
std::vector<PlotPoint> roc_points(const std::string& series, const std::vector<at::Tensor>& unknown,
                                  const at::Tensor& known);
/// 40 bins of equal width from low to high; infinite values are in the outer bins, NaN in none.
/// values not empty.
std::vector<PlotPoint> histogram_points(const std::string& series, const at::Tensor& values,
                                        double low, double high);

/// Plots of one ensemble: <run>-<set>-roc, one series per score, for each set except the first (the
/// in-distribution set); <run>-<score>-histogram, one series per set.
std::vector<PlotFile> score_plots(const std::string& run, const std::vector<PlannedScore>& scores,
                                  const std::vector<SetScores>& sets,
                                  metrics::Convention convention);

}  // namespace dissent
