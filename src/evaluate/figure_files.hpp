#pragma once
#include <dissent/metrics/reliability.hpp>

#include <string>
#include <vector>

#include "evaluate/figures.hpp"
#include "storage/plot_data.hpp"
#include "storage/results.hpp"

namespace dissent {

/// A figure file to be written: <output>/figures/<name>.csv.
struct FigureFile {
  std::string name;
  std::vector<PlotPoint> points;
};

/// What figures and comparisons read of the ensemble's output on one set, all its files: [N] f64
/// each.
struct KeptSet {
  std::string name, shift;
  at::Tensor right;  ///< undefined without labels
  std::vector<at::Tensor>
      scores;  ///< in the order of the evaluation's scores; empty on a set with some of the classes
  std::vector<int64_t> files = {};  ///< rows of each file; empty: one file
};

/// Part of a file's name: what is neither letter, digit nor one of ._+ becomes -.
std::string file_part(std::string text);

/// What tells runs apart.
struct RunKey {
  std::string run, method, config_hash;
  int64_t seed = 0;
  bool operator==(const RunKey&) const = default;
};
/// Names of runs for people: "seed-3"; "a2d+cross_entropy/seed-3" where a run of another method is
/// named alike; with the configuration's hash, or the seed, behind where that alone tells two of a
/// method apart. Equal keys get equal names.
std::vector<std::string> run_labels(const std::vector<RunKey>& runs);
/// The same for files ("a2d+cross_entropy-seed-3"), no two alike: "+" is added.
std::vector<std::string> file_names(const std::vector<LoadedEnsemble>& ensembles);

/// The filled bins as points of a series.
std::vector<PlotPoint> reliability_points(const std::string& series,
                                          const std::vector<metrics::ReliabilityBin>& bins);
/// ROC of unknown (positive) against known scores, from 0, 0 to 1, 1. Several sets of unknown
/// scores (the files of a set): the mean of their curves, whose area is the mean of their AUROCs.
/// The corners of the curve where these are at most 2,000; else every corner that is the first of
/// its thousandth of the way along x + y, and between two of them one point that keeps the area of
/// the corners left out, so no point is further off than the box between its neighbours. The first
/// point has the area: that of the result row, to the last bit.
std::vector<PlotPoint> roc_points(const std::string& series, const std::vector<at::Tensor>& unknown,
                                  const at::Tensor& known);
/// 40 bins of equal width from low to high; infinite values are in the outer ones. values not
/// empty.
std::vector<PlotPoint> histogram_points(const std::string& series, const at::Tensor& values,
                                        double low, double high);

/// Of one ensemble: <run>-<set>-roc, a series a score, for each set but the first (the
/// in-distribution one); <run>-<score>-histogram, a series a set.
std::vector<FigureFile> score_figures(const std::string& run,
                                      const std::vector<PlannedScore>& scores,
                                      const std::vector<KeptSet>& sets,
                                      const std::string& convention);

/// Differences between methods (evaluate.compare) of the ensembles: rows accuracy_difference and
/// auroc_difference with predictor "a - b", each followed by its _low and _high. kept[e]: sets of
/// ensembles[e], the in-distribution one first. The scores are those of `scores`. check_comparison
/// before anything is computed.
std::vector<ResultRow> comparison_rows(const std::vector<LoadedEnsemble>& ensembles,
                                       const std::vector<std::vector<KeptSet>>& kept,
                                       const std::vector<PlannedScore>& scores,
                                       const EvaluateOptions& options);
/// Error::kUsage naming a method that is not there, or whose seeds are not those of the other.
void check_comparison(const std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options);

}  // namespace dissent
