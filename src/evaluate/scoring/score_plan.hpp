#pragma once
#include <dissent/metrics/registry.hpp>
#include <dissent/scores/registry.hpp>

#include <any>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/options.hpp"
#include "evaluate/outputs/columns.hpp"
#include "evaluate/scoring/fit_request.hpp"
#include "evaluate/scoring/predictors.hpp"
#include "scores/postprocessors.hpp"

namespace dissent {

/// A score of an evaluation: a score of ensembles (info) or a post-processor (post).
struct PlannedScore {
  std::string name;  ///< in the results: "msp", "react+average", "gen:mean_score"
  const scores::ScoreInfo* info = nullptr;
  const scores::PostprocessorInfo* post = nullptr;
  Shaping shaping = Shaping::kNone;     ///< of features, for a score of ensembles
  ScoreForm form = ScoreForm::kOutput;  ///< what a post-processor on logits reads
  std::any options;                     ///< of the post-processor, or of the shaping

  /// Whether the score of a combined predictor is the mean of its networks' scores.
  bool mean_of_networks() const {
    return post && (post->scores_features || form == ScoreForm::kMeanScore);
  }
  bool reads_features() const {
    return shaping != Shaping::kNone || (post && post->scores_features);
  }
  /// Whether larger values are expected in distribution, under this convention.
  bool larger_for_id(metrics::Convention convention) const;
  /// Whether a column of this score is computed for a predictor: for combined predictors if it
  /// reads combined outputs, for a single network if it is not a constant there.
  bool has_column(const Predictor& predictor) const;
  /// What has to be fitted for this score; nothing for a score of ensembles without shaping.
  std::optional<FitTarget> fit_target() const;
  /// Its options as TOML: "gamma = 0.1, m = 100".
  std::string options_text() const;
};

/// The scores of the configuration, with shapings and forms, in the order of the results.
/// Error::kUsage for an unknown name.
std::vector<PlannedScore> plan_scores(const EvaluateConfig& config);

/// The key of a score's column.
ColumnKey score_key(const Predictor& predictor, const PlannedScore& score);

/// Logits [k, B, C] of networks whose features are changed first; heads: one per unit of the
/// predictor.
at::Tensor shaped_logits(const PlannedScore& score, const at::Tensor& features,
                         const std::vector<scores::LinearHead>& heads, const scores::State& state);

/// The columns of all of these scores from one pass over the logits (fused_scores.hpp).
/// units: of the pass.
ColumnGroup fused_columns(const std::vector<int64_t>& units, const Predictor& predictor,
                          const std::vector<const PlannedScore*>& scores,
                          std::optional<double> temperature);
/// Whether a score is computed in that pass: a score of ensembles, of unchanged features, with its
/// usual definition.
bool is_fused(const PlannedScore& score, const EvaluateOptions& options);

/// The column of one score of one predictor (PlannedScore::has_column). temperature: of the
/// predictor, if scores read logits divided by it. units: of the pass.
ColumnGroup score_column(const LoadedEnsemble& ensemble, const std::vector<int64_t>& units,
                         const Predictor& predictor, const PlannedScore& score,
                         const FittedStates& states, const EvaluateOptions& options,
                         std::optional<double> temperature);

}  // namespace dissent
