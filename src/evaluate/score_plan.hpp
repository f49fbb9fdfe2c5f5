#pragma once
#include <dissent/scores/registry.hpp>

#include <any>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/columns.hpp"
#include "evaluate/options.hpp"
#include "scores/postprocessors.hpp"

namespace dissent {

/// One network (a member, a soup), or several whose outputs are combined.
struct Predictor {
  std::string name;            ///< "ensemble", "member:3", "soup", "greedy"
  std::vector<int64_t> units;  ///< ascending
  bool group = false;
};

/// A score as the results name it: of the table of ensembles or of that of post-processors.
struct PlannedScore {
  std::string name;  ///< "msp", "react+average", "gen:mean_score"
  const scores::ScoreInfo* info = nullptr;
  const scores::PostprocessorInfo* post = nullptr;
  std::string shaping;          ///< of an ensemble's score: "", "react", "ash_b", ..
  std::string form = "output";  ///< of a post-processor on logits: evaluate.score_of
  std::any options;             ///< of the post-processor, or of the shaping
  /// Whether a group gets the mean of its networks' scores.
  bool mean_of_networks() const { return post && (post->scores_features || form == "mean_score"); }
  bool reads_features() const { return !shaping.empty() || (post && post->scores_features); }
  /// Whether larger values are expected in distribution, under this convention.
  bool larger_for_id(const std::string& convention) const;
  /// Whether it says anything of one network: the diversity of a single one is a constant.
  bool of_one_network() const;
};

/// Scores of the configuration, shapings and forms included, in the order of the results. Energy is
/// the post-processor's, msp the ensembles'.
std::vector<PlannedScore> plan_scores(const EvaluateConfig& config);

/// What was fitted for predictors, by state_key.
using FittedStates = std::map<std::string, scores::State>;
/// "ensemble|gen:mean_score|gamma = 0.1, m = 100": one state each; options as TOML, those of
/// Scope::kExecution left out.
std::string state_key(const Predictor& predictor, const PlannedScore& score);
std::string options_text(const PlannedScore& score);
/// Column of a score: "ensemble|msp".
std::string score_key(const Predictor& predictor, const PlannedScore& score);

/// Logits that a predictor predicts with, [B, C], from those of its networks [k, B, C]: of
/// evaluate.combine; log of the mean for mean_probabilities.
at::Tensor output_logits(const at::Tensor& logits, const Predictor& predictor,
                         const EvaluateOptions& options);
/// Rows of these units in outputs of `units`: [k, B, X].
at::Tensor unit_rows(const at::Tensor& values, const std::vector<int64_t>& units,
                     const std::vector<int64_t>& wanted);
/// Logits of networks whose features are changed first; heads: one a unit of the predictor.
at::Tensor shaped_logits(const PlannedScore& score, const at::Tensor& features,
                         const std::vector<scores::LinearHead>& heads, const scores::State& state);

/// The columns of all of these scores that follow from one pass over the logits (fused_scores.hpp);
/// no keys if there is none.
ColumnGroup fused_column(const ColumnPlan& plan, const Predictor& predictor,
                         const std::vector<const PlannedScore*>& scores,
                         std::optional<double> temperature);
/// Whether a score is computed there: one of ensembles, of unchanged features, as it is defined.
bool is_fused(const PlannedScore& score, const EvaluateOptions& options);

/// The column of one score of one predictor (not mean_of_networks for a group). temperature: of the
/// predictor, where scores read logits over it.
ColumnGroup score_column(const LoadedEnsemble& ensemble, const ColumnPlan& plan,
                         const Predictor& predictor, const PlannedScore& score,
                         const FittedStates& states, const EvaluateOptions& options,
                         std::optional<double> temperature);

}  // namespace dissent
