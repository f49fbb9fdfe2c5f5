#pragma once
#include <dissent/metrics/reliability.hpp>

#include <map>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "evaluate/ensemble_file.hpp"
#include "evaluate/evaluation_sets.hpp"
#include "evaluate/figure_files.hpp"
#include "evaluate/figures.hpp"
#include "evaluate/fitted_states.hpp"
#include "evaluate/saliency.hpp"
#include "storage/results.hpp"

namespace dissent {

using CalibratorMap = std::map<std::string, Calibrators>;

/// What was chosen for one ensemble on validation sets, before any test score.
struct Choices {
  int64_t best = -1;  ///< most accurate member; -1: on each test set, as SED does
  std::vector<int64_t> greedy, greedy_soup;  ///< members
  std::vector<PlannedScore> scores;          ///< with the options that were found best
  CalibratorMap calibrators;                 ///< of predictors
  std::map<std::string, double>
      searched;  ///< AUROC on validation of the options that were found best, by score
};

/// The networks and groups of one ensemble whose columns are computed.
struct Cast {
  std::vector<Predictor> groups;   ///< "ensemble", "greedy"
  std::vector<Predictor> singles;  ///< soups, and members where they are needed
  std::vector<Predictor> subsets;  ///< of evaluate.sub_ensembles: "size:3:0", ..
};

/// A bin of a reliability diagram, in the file beside the results.
struct ReliabilityRow {
  std::string run, predictor, dataset, temperature;
  metrics::ReliabilityBin bin;
};

/// What an evaluation gives; the same on every rank.
struct Evaluation {
  std::vector<ResultRow> rows;
  std::vector<ReliabilityRow> reliability;
  std::vector<FigureFile> figures;  ///< if evaluate.figures
  std::vector<std::pair<std::string, SaliencyMaps>>
      saliency;         ///< if evaluate.saliency: name of the file without its ending
  std::string choices;  ///< TOML: members, temperatures and options that were chosen, per run, and
                        ///< on what; empty if nothing was
  std::string choices_hash;  ///< of that text
};

/// Opens the sets and refuses whatever of them, the ensembles, scores and comparisons does not fit
/// together: all that is found before anything is computed. Adds the soups that are asked for to
/// the ensembles; a transform "auto" becomes theirs. Error::kUsage, Error::kData. Not collective.
EvaluationSets prepare_evaluation(std::vector<LoadedEnsemble>& ensembles, EvaluateConfig& config);

/// Evaluates all ensembles: chooses on validation, hands the choices to `record` (rank 0 writes
/// them before test sets are scored), fits, then goes once over each test set. Rows in a fixed
/// order with the same bits for every number of ranks. Collective over comm.
Evaluation evaluate(Communicator& comm, std::vector<LoadedEnsemble> ensembles,
                    const EvaluateConfig& config, bool show_progress,
                    const std::function<void(const Evaluation&)>& record);

/// Predictors of an ensemble that these options need; the greedy ones once they are chosen.
Cast cast_of(const LoadedEnsemble& ensemble, const Choices& choices,
             const EvaluateOptions& options);
/// Columns of a set: those on labels if it has them (labelled), those of scores. On a set with some
/// of the classes only whether predictions are right.
struct Asked {
  bool labelled = false;
  const EvaluateSet* set = nullptr;  ///< where it has classes
};
ColumnPlan column_plan(const LoadedEnsemble& ensemble, const Cast& cast,
                       const std::vector<PlannedScore>& scores, const FittedStates& states,
                       const EvaluateOptions& options, const CalibratorMap& calibrators,
                       Asked asked);
/// What has to be fitted for the scores of these predictors.
std::vector<FitRequest> fit_requests(size_t ensemble, const Cast& cast,
                                     const std::vector<PlannedScore>& scores);

/// The choices, in the order of the ensembles (a greedy soup is added to its ensemble). Collective.
std::vector<Choices> choose(Communicator& comm, std::vector<LoadedEnsemble>& ensembles,
                            const EvaluationSets& sets, const EvaluateConfig& config,
                            std::vector<FittedStates>& states, bool show_progress);
/// Temperature, vector scaling and conformal quantile of each predictor of ensemble e, fitted on
/// this set; those that are asked for. Logs temperatures that end at a bound. Collective.
CalibratorMap fit_calibrators(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                              size_t e, const Cast& cast, const EvaluationSet& set,
                              const EvaluateConfig& config);
/// TOML; empty if nothing was chosen.
std::string choices_text(const std::vector<LoadedEnsemble>& ensembles,
                         const std::vector<Choices>& choices, const EvaluationSets& sets,
                         const EvaluateConfig& config);

/// Result rows of one ensemble on one file of a set. id: columns of the in-distribution set,
/// nullptr if only figures on labels are wanted.
struct RowContext {
  const LoadedEnsemble& ensemble;
  const EvaluateOptions& options;
  const Choices& choices;
  const Cast& cast;
  bool chosen_on_test;  ///< choices, where there were any
};
std::vector<ResultRow> rows_of(const RowContext& context, const SetColumns& set,
                               const SetColumns* id, const std::string& name,
                               const std::string& shift, bool labelled);
/// Rows of the ensemble that follow from nothing that is chosen: diversity, saliency_cosine.
std::vector<ResultRow> ensemble_rows(const RowContext& context, const std::vector<Figure>& figures,
                                     const std::string& name, const std::string& shift);
/// Several files of one set: the mean of their figures, row by row.
std::vector<ResultRow> mean_rows(std::vector<std::vector<ResultRow>> files);

}  // namespace dissent
