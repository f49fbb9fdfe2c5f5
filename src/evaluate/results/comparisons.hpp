#pragma once
#include <string>
#include <vector>

#include "evaluate/results/plot_files.hpp"
#include "storage/results.hpp"

namespace dissent {

/// Differences between the ensembles of methods (evaluate.compare): rows accuracy_difference and
/// auroc_difference with predictor "a - b", each followed by its _low and _high. sets[e]: of
/// ensembles[e], the in-distribution set first; `scores`: of the evaluation. Call check_comparison
/// before anything is computed.
std::vector<ResultRow> comparison_rows(const std::vector<LoadedEnsemble>& ensembles,
                                       const std::vector<std::vector<SetScores>>& sets,
                                       const std::vector<PlannedScore>& scores,
                                       const EvaluateOptions& options);
/// Error::kUsage naming a method that was not loaded, or methods with different seeds.
void check_comparison(const std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options);

}  // namespace dissent
