#pragma once
#include <string>
#include <vector>

#include "evaluate/score_plan.hpp"

namespace dissent {

/// The sets that fits read; nullptr: not given.
struct FitSets {
  const EvaluationSet* train = nullptr;
  const EvaluationSet* validation = nullptr;
};

/// Something to be fitted for a predictor of an ensemble.
struct FitRequest {
  size_t ensemble;
  Predictor predictor;
  PlannedScore score;
};

/// Fits what is asked and not yet in `states` (one map an ensemble). Each ensemble's predictors are
/// shared out over the ranks; a rank holds the features or logits of one predictor on one set at a
/// time. States are written to <checkpoint's folder>/states/<hash>.h5, keyed by score, options,
/// predictor, the identities of ensemble and sets, and all ranks read them from there; a later
/// evaluation finds them. Training features that a state holds unchanged (knn) are not written:
/// each rank gathers them again, from the logits cache if there is one. Errors as the fits'.
/// Collective.
void fit_states(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                const std::vector<FitRequest>& requests, const FitSets& sets,
                const EvaluateConfig& config, std::vector<FittedStates>& states);

/// What one predictor gives for a whole set: features [N, D] of a single network, logits [N, C]
/// that it predicts with, labels [N]. Not collective.
struct WholeOutputs {
  at::Tensor features, logits, labels;
};
WholeOutputs whole_outputs(const SetOutputs& outputs, const EvaluationSet& set,
                           const Predictor& predictor, bool features, bool logits,
                           const EvaluateOptions& options, bool mean_probabilities = false);

}  // namespace dissent
