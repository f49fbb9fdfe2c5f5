#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "evaluate/scoring/calibrators.hpp"
#include "evaluate/scoring/fitted_states.hpp"
#include "evaluate/subjects/evaluation_sets.hpp"

namespace dissent {

/// What was chosen for one ensemble on validation sets, before any test score.
struct Choices {
  int64_t best = -1;  ///< most accurate member; -1: on each test set, as in SED's release
  std::vector<int64_t> greedy, greedy_soup;  ///< members
  std::vector<PlannedScore> scores;          ///< with the options found by the search
  CalibratorMap calibrators;
  std::map<std::string, double>
      searched;  ///< by score: AUROC on validation of the options that were found
};

/// The choices for all ensembles, in their order; adds greedy soups to the ensembles, and what was
/// fitted for the search to `states`. Error::kUsage for a greedy soup of networks that have none.
/// Collective.
std::vector<Choices> choose(Communicator& comm, std::vector<LoadedEnsemble>& ensembles,
                            const EvaluationSets& sets, const EvaluateConfig& config,
                            std::vector<FittedStates>& states, bool show_progress);

/// The choices as TOML, with the sets on which they were made; empty if nothing was chosen.
std::string choices_text(const std::vector<LoadedEnsemble>& ensembles,
                         const std::vector<Choices>& choices, const EvaluationSets& sets,
                         const EvaluateConfig& config);

}  // namespace dissent
