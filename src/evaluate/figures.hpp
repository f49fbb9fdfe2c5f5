#pragma once
#include <dissent/metrics/conformal.hpp>
#include <dissent/metrics/reliability.hpp>
#include <dissent/scores/vector_scaling.hpp>

#include <optional>
#include <string>
#include <vector>

#include "evaluate/score_plan.hpp"

namespace dissent {

/// One figure of one predictor on one set.
struct Figure {
  std::string score, metric;
  double value = 0;
  int64_t n = 0;
};

/// What was fitted for a predictor's probabilities.
struct Calibrators {
  std::optional<double> temperature;
  std::optional<scores::VectorScaling> vector;
  std::optional<double> conformal;  ///< quantile of the calibration scores
};

/// The empty bins of ece, ece_max and reliability figures: evaluate.bins of them, as the convention
/// has them (metrics::TopBin).
metrics::Reliability reliability_of(const EvaluateOptions& options);

/// Mean over rows of a score, values [rows] f64; under convention sed the mean of the means of
/// batches of evaluate.batch_rows, as its release divides sums of batch means by their number.
double mean_over_rows(const at::Tensor& values, const EvaluateOptions& options);

/// Columns that figures on labels need: "<predictor>|right", "|nll", "|brier", "|confidence", the
/// last three again with "@T" and "@V" after temperature and vector scaling; "|covered",
/// "|set_size" of conformal sets.
ColumnGroup label_columns(const ColumnPlan& plan, const Predictor& predictor,
                          const EvaluateOptions& options, const Calibrators& calibrators);
/// "<predictor>|right" alone, on a set with some of the classes.
ColumnGroup subset_columns(const ColumnPlan& plan, const Predictor& predictor,
                           const EvaluateOptions& options, const EvaluateSet& set);
/// Of evaluate.conformal, for convenience of those that calibrate.
metrics::ConformalOptions conformal_options(const EvaluateOptions& options);

/// Whether a metric of metrics::metric_table() is computed from one predictor's logits and labels;
/// or from scores of two sets.
bool is_label_metric(const std::string& metric);
bool is_ranking_metric(const std::string& metric);

/// Those metrics of evaluate.metrics that are computed from labels, of a predictor on a labelled
/// set, under evaluate.convention (docs/metrics.md); score is "temperature" or "vector" for those
/// after scaling; coverage and set_size have score "aps" or "raps".
std::vector<Figure> label_figures(const SetColumns& columns, const std::string& predictor,
                                  const EvaluateOptions& options);

/// Those that are computed from scores in distribution and others. right [n of id]: right
/// predictions in distribution (not 0), for ccr1 .. ccr4, whose confidence is the score (negated if
/// it is larger for unknown inputs). Error::kData naming the score if a value is NaN.
std::vector<Figure> ranking_figures(const at::Tensor& id, const at::Tensor& ood,
                                    const at::Tensor& right, const PlannedScore& score,
                                    const EvaluateOptions& options, const std::string& ood_name);
/// AUROC alone.
double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score,
                const std::string& convention, const std::string& ood_name);

/// The values of a score of a predictor: its column, or the mean of its networks' columns, in their
/// order.
at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble,
                        const Predictor& predictor, const PlannedScore& score);

}  // namespace dissent
