#pragma once
#include <vector>

#include "evaluate/scoring/fit_request.hpp"
#include "evaluate/values/metric_values.hpp"

namespace dissent {

/// What a pass over a set computes.
struct PassRequest {
  bool labelled = false;                  ///< columns for metrics of labels, not only scores
  const EvaluateSet* test_set = nullptr;  ///< its table, if it is one of [[evaluate.sets]]
  /// Whether the set has only some of the classes: its only column is then kCorrect.
  bool some_classes() const { return test_set && !test_set->classes.empty(); }
};

/// The columns of one ensemble that a pass computes.
ColumnPlan column_plan(const LoadedEnsemble& ensemble, const PredictorSet& predictors,
                       const std::vector<PlannedScore>& scores, const FittedStates& states,
                       const EvaluateOptions& options, const CalibratorMap& calibrators,
                       PassRequest request);

}  // namespace dissent
