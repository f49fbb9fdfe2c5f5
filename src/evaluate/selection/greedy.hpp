#pragma once
#include <cstdint>
#include <vector>

#include "evaluate/options.hpp"
#include "evaluate/subjects/ensemble_file.hpp"

namespace dissent {

/// Number of correct predictions of each member on the set. Like all functions here, collective
/// with the same result on every rank.
std::vector<int64_t> member_counts(Communicator& comm, const LoadedEnsemble& ensemble,
                                   const EvaluationSet& set, const EvaluateConfig& config);

/// Greedy member selection: starts with the most accurate member (correct: member_counts), then
/// adds the member that raises the accuracy of the combined output most, until none does; the
/// lowest number on ties. Ascending. Each rank holds the outputs of all members on its share of the
/// set: 4 M N C / ranks bytes. Ref: Caruana et al., Ensemble Selection from Libraries of Models,
/// ICML 2004, without replacement.
std::vector<int64_t> greedy_members(Communicator& comm, const LoadedEnsemble& ensemble,
                                    const EvaluationSet& set, const EvaluateConfig& config,
                                    const std::vector<int64_t>& correct);

/// Greedy soup: takes the members in the order of their accuracy; a member joins if the mean of the
/// weights is at least as accurate with it. Ascending. One forward pass per member.
/// Ref: Wortsman et al., Model Soups, ICML 2022.
std::vector<int64_t> greedy_soup(Communicator& comm, const LoadedEnsemble& ensemble,
                                 const EvaluationSet& set, const EvaluateConfig& config,
                                 const std::vector<int64_t>& correct);

}  // namespace dissent
