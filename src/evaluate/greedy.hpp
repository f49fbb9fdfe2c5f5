#pragma once
#include <vector>

#include "evaluate/ensemble_file.hpp"
#include "evaluate/options.hpp"

namespace dissent {

/// Right answers on the set of each member, integer counts. Collective, as all here; the same on
/// every rank.
std::vector<int64_t> member_counts(Communicator& comm, const LoadedEnsemble& ensemble,
                                   const EvaluationSet& set, const EvaluateConfig& config);

/// Greedy member selection: begins with the most accurate member (right: member_counts), then adds
/// the one that raises the accuracy of the combined output most, until none does; lowest number on
/// ties. Ascending. Each rank holds the outputs of all members on its share of the set: 4 M N C /
/// ranks bytes.
/// Ref: Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004, without
/// replacement.
std::vector<int64_t> greedy_members(Communicator& comm, const LoadedEnsemble& ensemble,
                                    const EvaluationSet& set, const EvaluateConfig& config,
                                    const std::vector<int64_t>& right);

/// Greedy soup: members in order of accuracy; each joins if the mean of the weights is at least as
/// accurate with it. Ascending. A forward pass a member.
/// Ref: Wortsman et al., Model Soups, ICML 2022.
std::vector<int64_t> greedy_soup(Communicator& comm, const LoadedEnsemble& ensemble,
                                 const EvaluationSet& set, const EvaluateConfig& config,
                                 const std::vector<int64_t>& right);

}  // namespace dissent
