#pragma once
#include <dissent/metrics/reliability.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "evaluate/results/plot_files.hpp"
#include "evaluate/selection/choices.hpp"
#include "evaluate/subjects/ensemble_file.hpp"
#include "evaluate/subjects/evaluation_sets.hpp"
#include "evaluate/values/saliency.hpp"
#include "storage/results.hpp"

namespace dissent {

/// A bin of a reliability diagram, for the file next to the results.
struct ReliabilityRow {
  std::string run, predictor, dataset, temperature;
  metrics::ReliabilityBin bin;
};

/// The results of an evaluation; the same on every rank.
struct Evaluation {
  std::vector<ResultRow> rows;
  std::vector<ReliabilityRow> reliability;
  std::vector<PlotFile> plots;  ///< if evaluate.plots
  std::vector<std::pair<std::string, SaliencyMaps>>
      saliency;         ///< if evaluate.saliency: file name without extension
  std::string choices;  ///< TOML: chosen members, temperatures and options per run, and the sets on
                        ///< which they were chosen; empty if nothing was chosen
  std::string choices_hash;  ///< of that text
};

/// Opens the sets and checks that sets, ensembles, scores and comparisons fit together, before
/// anything is computed. Adds the soups of evaluate.predictors to the ensembles; a transform "auto"
/// becomes that of the ensembles. Error::kUsage, Error::kData. Not collective.
EvaluationSets prepare_evaluation(std::vector<LoadedEnsemble>& ensembles, EvaluateConfig& config);

/// Checks scores and metrics that need more members than an ensemble has, and the number of
/// weights; `path`: of the ensemble, for messages. Error::kUsage.
void check_members(const EvaluateOptions& options, int64_t members, const std::string& path);

/// Evaluates all ensembles: makes the choices on validation sets, passes them to `record` (rank 0
/// writes them before test sets are scored), fits the scores, then passes once over each test set.
/// Rows in a fixed order with the same bits for every number of ranks. show_progress: bars of the
/// passes. Errors as prepare_evaluation(), the fits and the networks, on all ranks. Collective over
/// comm.
Evaluation evaluate(Communicator& comm, std::vector<LoadedEnsemble> ensembles,
                    const EvaluateConfig& config, bool show_progress,
                    const std::function<void(const Evaluation&)>& record);

}  // namespace dissent
