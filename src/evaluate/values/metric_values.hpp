#pragma once
#include <dissent/metrics/registry.hpp>
#include <dissent/metrics/reliability.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "evaluate/scoring/calibrators.hpp"
#include "evaluate/scoring/score_plan.hpp"

namespace dissent {

/// One metric of one predictor on one set.
struct MetricValue {
  std::string score;  ///< empty for metrics of probabilities
  std::string metric;
  double value = 0;
  int64_t n = 0;               ///< samples
  bool compares_sets = false;  ///< computed from scores of two sets
};

/// Empty bins for ece, ece_max and reliability diagrams: evaluate.bins of them, with the top bin of
/// the convention (metrics::TopBin).
metrics::Reliability empty_bins(const EvaluateOptions& options);

/// Mean over rows of a score, values [rows] f64. Under convention sed the mean of the means of
/// batches of evaluate.batch_rows rows, as its release divides sums of batch means by their number.
double mean_over_rows(const at::Tensor& values, const EvaluateOptions& options);

/// Columns for metrics of labels: kCorrect, kNll, kBrier, kConfidence (the last three again after
/// temperature and vector scaling), kCovered and kSetSize of conformal sets. units: of the pass.
ColumnGroup label_columns(const std::vector<int64_t>& units, const Predictor& predictor,
                          const EvaluateOptions& options, const Calibrators& calibrators);
/// Only kCorrect, on a set with some of the classes.
ColumnGroup subset_columns(const std::vector<int64_t>& units, const Predictor& predictor,
                           const EvaluateOptions& options, const EvaluateSet& set);

/// Whether a metric is computed from one predictor's logits and labels.
bool is_label_metric(const metrics::MetricInfo& metric);
/// Whether a metric is computed from scores of two sets.
bool is_ranking_metric(const metrics::MetricInfo& metric);

/// The metrics of evaluate.metrics that are computed from labels, of a predictor on a labelled set,
/// under evaluate.convention (docs/metrics.md). MetricValue::score is "temperature" or "vector"
/// after scaling; coverage and set_size have score "aps" or "raps".
std::vector<MetricValue> label_values(const SetColumns& columns, const std::string& predictor,
                                      const EvaluateOptions& options);

/// The metrics that are computed from scores in distribution and others. correct [n of id]: correct
/// predictions in distribution (not 0), for ccr1 .. ccr4, whose confidence is the score (negated if
/// it is larger for unknown inputs). Error::kData naming the score if a value is NaN.
std::vector<MetricValue> detection_values(const at::Tensor& id, const at::Tensor& ood,
                                          const at::Tensor& correct, const PlannedScore& score,
                                          const EvaluateOptions& options,
                                          const std::string& ood_name);
/// Only AUROC, with the class of which larger scores are expected as the positive one. Error::kData
/// naming the score if a value is NaN.
double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score,
                metrics::Convention convention, const std::string& ood_name);

/// The values of a score of a predictor: its column, or the mean of the columns of its networks, in
/// their order. [rows] f64.
at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble,
                        const Predictor& predictor, const PlannedScore& score);

}  // namespace dissent
