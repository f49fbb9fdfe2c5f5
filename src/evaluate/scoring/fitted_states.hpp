#pragma once
#include <string>
#include <vector>

#include "evaluate/scoring/fit_request.hpp"
#include "evaluate/scoring/score_plan.hpp"

namespace dissent {

/// The sets on which scores are fitted; nullptr: not given.
struct FitSets {
  const EvaluationSet* train = nullptr;
  const EvaluationSet* validation = nullptr;
};

/// What has to be fitted for the scores of these predictors.
std::vector<FitRequest> fit_requests(size_t ensemble, const PredictorSet& predictors,
                                     const std::vector<PlannedScore>& scores);

/// Fits the requests that are not yet in `states` (one map per ensemble). Predictors are divided
/// among the ranks; a rank holds the features or logits of one predictor on one set at a time.
/// States are written to <checkpoint's folder>/states/<hash>.h5, identified by score, options,
/// predictor, and the identities of ensemble and sets, and all ranks read them from there; a later
/// evaluation finds them. Training features that a state holds unchanged (knn) are not written:
/// each rank reads them again, from the logits cache if there is one. Errors as the fits'.
/// Collective.
void fit_states(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                const std::vector<FitRequest>& requests, const FitSets& sets,
                const EvaluateConfig& config, std::vector<FittedStates>& states);

}  // namespace dissent
