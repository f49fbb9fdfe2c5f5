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

/// accuracy, nll, brier, ece, mce of a predictor on a labelled set, those that evaluate.metrics names; score is "temperature" for those after scaling.
/// ECE by convention: sdde leaves confidences of exactly 1 out, torch_uncertainty gives them a bin of their own, openood bins largest logits.
std::vector<Figure> label_figures(const SetColumns& columns, const std::string& predictor, const EvaluateOptions& options);

/// auroc, fpr95, aupr_in, aupr_out of a score between in-distribution and other rows. For fpr95 the unknown inputs are positive; aupr_in takes those in
/// distribution as positive, aupr_out the others (sdde: exchanged; torch_uncertainty: average precision). Error::kData naming the score if a value is NaN.
std::vector<Figure> ranking_figures(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score, const EvaluateOptions& options, const std::string& ood_name);
/// AUROC alone.
double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score, const std::string& convention, const std::string& ood_name);

/// The values of a score of a predictor: its column, or the mean of its networks' columns, in their order.
at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble, const Predictor& predictor, const PlannedScore& score);

/// One bin of a reliability diagram.
struct ReliabilityBin {
  double low = 0, high = 0;
  int64_t count = 0;
  double accuracy = 0, confidence = 0;  ///< means; 0 without rows
};
/// [lo, hi), the last one closed. confidence, right [rows] f64.
std::vector<ReliabilityBin> reliability(const at::Tensor& confidence, const at::Tensor& right, int64_t bins);

}  // namespace dissent
