#pragma once
#include <string>
#include <vector>

#include "evaluate/selection/choices.hpp"
#include "evaluate/values/metric_values.hpp"
#include "storage/results.hpp"

namespace dissent {

/// What the result rows of one ensemble have in common.
struct RowContext {
  const LoadedEnsemble& ensemble;
  const EvaluateOptions& options;
  const Choices& choices;
  const PredictorSet& predictors;
  bool chosen_on_test;  ///< the choices, if there were any
};

/// A set as result rows name it.
struct RowSet {
  std::string name;
  Shift shift = Shift::kId;
};

/// Result rows of one ensemble on one file of a set. id: columns of the in-distribution set, with
/// which the set is compared; nullptr: only metrics of labels. labelled: whether these have
/// columns. Error::kData naming a score that is NaN.
std::vector<ResultRow> result_rows(const RowContext& context, const SetColumns& columns,
                                   const SetColumns* id, const RowSet& set, bool labelled);

/// Rows of the ensemble for values that do not depend on choices: diversity, saliency_cosine.
std::vector<ResultRow> ensemble_rows(const RowContext& context,
                                     const std::vector<MetricValue>& values, const RowSet& set);

/// Several files of one set: the mean of their values, row by row; n is the sum. files: not empty,
/// each with the same rows in the same order.
std::vector<ResultRow> mean_rows(std::vector<std::vector<ResultRow>> files);

}  // namespace dissent
