#pragma once
#include <vector>

#include "evaluate/evaluator.hpp"

namespace dissent {

/// Evaluates all test sets with the choices that were made, and adds rows, reliability bins, plots
/// and saliency maps to `result`. states: what was fitted during the choices. Collective over comm.
void evaluate_tests(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                    const EvaluationSets& sets, const EvaluateConfig& config,
                    std::vector<Choices> choices, std::vector<FittedStates> states,
                    bool show_progress, Evaluation& result);

}  // namespace dissent
