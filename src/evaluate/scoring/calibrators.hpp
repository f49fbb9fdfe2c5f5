#pragma once
#include <dissent/metrics/conformal.hpp>
#include <dissent/scores/vector_scaling.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "evaluate/scoring/predictors.hpp"

namespace dissent {

/// What was fitted for a predictor's probabilities.
struct Calibrators {
  std::optional<double> temperature;
  std::optional<scores::VectorScaling> vector;
  std::optional<double> conformal;  ///< quantile of the conformal scores
};

/// By the name of the predictor.
using CalibratorMap = std::map<std::string, Calibrators>;

/// Those of a predictor; empty if nothing was fitted for it.
Calibrators find_calibrators(const CalibratorMap& calibrators, const Predictor& predictor);

/// The options of evaluate.conformal.
metrics::ConformalOptions conformal_options(const EvaluateOptions& options);

/// Fits temperature, vector scaling and conformal quantile of each predictor of ensemble e on this
/// set, as far as the options need them. Logs temperatures that end at a bound. Collective.
CalibratorMap fit_calibrators(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                              size_t e, const PredictorSet& predictors, const EvaluationSet& set,
                              const EvaluateConfig& config);

}  // namespace dissent
