#pragma once
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

/// Columns that figures on labels need: "<predictor>|right", "|nll", "|brier", "|confidence" and, with a temperature, the last three again with "@T".
ColumnGroup label_columns(const ColumnPlan& plan, const Predictor& predictor, const EvaluateOptions& options, std::optional<double> temperature);

/// Whether a metric of metrics::metric_table() is computed from one predictor's logits and labels; or from scores of two sets.
bool is_label_metric(const std::string& metric);
bool is_ranking_metric(const std::string& metric);

/// Those metrics of evaluate.metrics that are computed from labels, of a predictor on a labelled set, under evaluate.convention (docs/metrics.md); score is
/// "temperature" for those after scaling.
std::vector<Figure> label_figures(const SetColumns& columns, const std::string& predictor, const EvaluateOptions& options);

/// Those that are computed from scores in distribution and others. Error::kData naming the score if a value is NaN.
std::vector<Figure> ranking_figures(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score, const EvaluateOptions& options, const std::string& ood_name);
/// AUROC alone.
double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score, const std::string& convention, const std::string& ood_name);

/// The values of a score of a predictor: its column, or the mean of its networks' columns, in their order.
at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble, const Predictor& predictor, const PlannedScore& score);

}  // namespace dissent
