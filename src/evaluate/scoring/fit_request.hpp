#pragma once
#include <any>
#include <compare>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "evaluate/option_names.hpp"
#include "evaluate/scoring/predictors.hpp"
#include "scores/postprocessors.hpp"

namespace dissent {

/// A post-processor with its options; form: what it reads of a combined predictor.
struct PostprocessorFit {
  const scores::PostprocessorInfo* post = nullptr;
  ScoreForm form = ScoreForm::kOutput;
  std::any options;
};

/// The parameters of a change of features, as ReAct's threshold.
struct ShapingFit {
  Shaping shaping = Shaping::kNone;
  std::any options;
};

/// A factor and a shift per class for calibrated probabilities.
struct VectorScalingFit {};

/// The quantile of conformal scores for prediction sets.
struct ConformalFit {};

/// What can be fitted for a predictor.
using FitTarget = std::variant<PostprocessorFit, ShapingFit, VectorScalingFit, ConformalFit>;

/// Something to be fitted for a predictor of an ensemble.
struct FitRequest {
  size_t ensemble;  ///< place in the list of ensembles
  Predictor predictor;
  FitTarget target;
};

/// Whether a post-processor in this form reads the log of the mean probabilities of this
/// predictor's networks.
bool reads_mean_probabilities(ScoreForm form, const Predictor& predictor);

/// Options of a post-processor as TOML, without those of Scope::kExecution: "gamma = 0.1, m = 100".
std::string options_text(const scores::PostprocessorInfo& post, std::any options);

/// Identifies a fitted state among those of one ensemble. Scores of one shaping share a state, and
/// so do forms that read the same logits.
struct StateKey {
  std::string predictor;  ///< "ensemble"
  std::string target;     ///< "gen", "gen:mean_probabilities", "react+"
  std::string options;    ///< options_text
  auto operator<=>(const StateKey&) const = default;
  /// "ensemble|gen:mean_probabilities|gamma = 0.1, m = 100". Part of the identity of state files:
  /// another text would not find the files of earlier evaluations.
  std::string text() const;
};
StateKey state_key(const Predictor& predictor, const FitTarget& target);

/// What was fitted for the predictors of one ensemble.
using FittedStates = std::map<StateKey, scores::State>;

}  // namespace dissent
