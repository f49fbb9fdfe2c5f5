#pragma once
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "evaluate/ensemble_file.hpp"
#include "evaluate/options.hpp"
#include "storage/feature_cache.hpp"
#include "storage/results.hpp"

namespace dissent {

/// What is known of one ensemble on one cache after all its rows were seen: the same on every rank.
struct SetOutcome {
  int64_t rows = 0;
  std::vector<int64_t> right_members;  ///< right answers of each member
  int64_t right_ensemble = 0;
  int64_t right_soup = 0;
  std::vector<at::Tensor> ensemble_scores;  ///< a [rows] f64 for each configured score
  std::vector<at::Tensor> member_msp;       ///< [rows] f64 for each member
  at::Tensor soup_msp;                      ///< [rows] f64
};

/// Forward of every ensemble over a cache, in blocks of 1024 rows that the ranks take in turn; every row is read once for all ensembles.
/// The figures are integer counts and per-row values in row order, so they have the same bits for every number of ranks and threads. Collective over comm.
std::vector<SetOutcome> run_over_cache(Communicator& comm, const FeatureCache& cache, const std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options,
                                       bool show_progress);

/// Evaluates all ensembles over the in-distribution set and every other set. Rows in a fixed order, the same on every rank. Collective over comm.
std::vector<ResultRow> evaluate_heads(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles, const EvaluateConfig& config, bool show_progress);

}  // namespace dissent
