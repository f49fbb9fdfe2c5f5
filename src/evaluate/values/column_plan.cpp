#include "evaluate/values/column_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace dissent {
namespace {

// The units that the predictors and evaluate.diversity read.
std::vector<int64_t> needed_units(const LoadedEnsemble& ensemble, const PredictorSet& predictors,
                                  const EvaluateOptions& options) {
  std::vector<bool> needed(ensemble.units(), false);
  if (!options.diversity.empty()) std::fill_n(needed.begin(), ensemble.members(), true);
  for (const auto* predictor : predictors.all())
    for (const int64_t unit : predictor->units) needed[unit] = true;

  std::vector<int64_t> units;
  for (int64_t unit = 0; unit < ensemble.units(); ++unit)
    if (needed[unit]) units.push_back(unit);
  return units;
}

}  // namespace

ColumnPlan column_plan(const LoadedEnsemble& ensemble, const PredictorSet& predictors,
                       const std::vector<PlannedScore>& scores, const FittedStates& states,
                       const EvaluateOptions& options, const CalibratorMap& calibrators,
                       PassRequest request) {
  ColumnPlan plan;
  plan.units = needed_units(ensemble, predictors, options);

  // Scores of the kernel that computes many in one pass share a group; each other score is a
  // group of its own.
  const auto add_scores = [&](const Predictor& predictor, std::optional<double> temperature) {
    std::vector<const PlannedScore*> fused;
    for (const auto& score : scores) {
      // Sub-ensembles only have scores that need no fit: there are many of them.
      if (!score.has_column(predictor) || (predictor.sub_ensemble && score.fit_target())) continue;
      if (is_fused(score, options)) {
        fused.push_back(&score);
        continue;
      }

      // Outputs have features only if a score reads them: they take more memory than logits.
      plan.groups.push_back(
          score_column(ensemble, plan.units, predictor, score, states, options, temperature));
      plan.features = plan.features || score.reads_features();
    }
    if (!fused.empty())
      plan.groups.push_back(fused_columns(plan.units, predictor, fused, temperature));
  };

  for (const auto* predictor : predictors.all()) {
    // Scores are not defined on a part of the classes: only accuracy is reported for such a set.
    if (request.some_classes()) {
      if (request.labelled)
        plan.groups.push_back(subset_columns(plan.units, *predictor, options, *request.test_set));
      continue;
    }
    const auto fitted = find_calibrators(calibrators, *predictor);
    if (request.labelled)
      plan.groups.push_back(label_columns(plan.units, *predictor, options, fitted));
    add_scores(*predictor, options.temperature_in_scores ? fitted.temperature : std::nullopt);
  }
  return plan;
}

}  // namespace dissent
