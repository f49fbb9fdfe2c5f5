#include "evaluate/scoring/score_plan.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <dissent/error.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/shaped_energy.hpp>
#include <dissent/scores/shaping.hpp>

#include "evaluate/scoring/fused_scores.hpp"

namespace dissent {
namespace {

template <class Info>
const Info* find_by_name(const std::vector<Info>& table, const std::string& name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Info& entry) { return entry.name == name; });
  return found == table.end() ? nullptr : &*found;
}

std::any options_of(const EvaluateConfig& config, const std::string& postprocessor) {
  const auto& table = scores::postprocessor_table();
  for (size_t i = 0; i < table.size(); ++i)
    if (table[i].name == postprocessor) return config.scores[i].options;
  DISSENT_FAIL(kInternal, "no post-processor '{}'", postprocessor);
}

double percentile_of(const PlannedScore& score) {
  if (const auto* ash = std::any_cast<scores::AshOptions>(&score.options)) return ash->percentile;
  if (const auto* scale = std::any_cast<scores::ScaleOptions>(&score.options))
    return scale->percentile;
  DISSENT_FAIL(kInternal, "'{}' has no percentile", score.name);
}

at::Tensor shaped(const PlannedScore& score, const at::Tensor& features,
                  const scores::State& state) {
  switch (score.shaping) {
    case Shaping::kReact: return scores::react(features, state.at("threshold"));
    case Shaping::kAshP: return scores::ash_p(features, percentile_of(score));
    case Shaping::kAshB: return scores::ash_b(features, percentile_of(score));
    case Shaping::kAshS: return scores::ash_s(features, percentile_of(score));
    case Shaping::kScale: return scores::scale(features, percentile_of(score));
    case Shaping::kNone: break;
  }
  DISSENT_FAIL(kInternal, "'{}' does not change features", score.name);
}

const scores::State& find_state(const FittedStates& states, const Predictor& predictor,
                                const PlannedScore& score) {
  const auto key = state_key(predictor, *score.fit_target());
  const auto found = states.find(key);
  DISSENT_CHECK(found != states.end(), kInternal, "state {}: expected to be fitted, found nothing",
                key.text());
  return found->second;
}

// The features of a predictor's networks in the outputs of a pass: [k, B, D], or [1, B, D] if all
// networks share them.
at::Tensor features_of(const MemberOutputs& outputs, const std::vector<int64_t>& units,
                       const Predictor& predictor) {
  const bool shared = outputs.features.size(0) == 1;
  return shared ? outputs.features : unit_rows(outputs.features, units, predictor.units);
}

ColumnGroup postprocessor_column(const std::vector<int64_t>& units, const Predictor& predictor,
                                 const PlannedScore& score, const FittedStates& states,
                                 const EvaluateOptions& options) {
  // Captured by value: the functions of a plan outlive the plan's inputs.
  const auto state = find_state(states, predictor, score);
  const bool means = reads_mean_probabilities(score.form, predictor);
  const auto values = [=, post = score.post](const MemberOutputs& outputs, const at::Tensor&) {
    const auto logits = unit_rows(outputs.logits, units, predictor.units);
    const auto z =
        means ? scores::log_mean_probabilities(logits) : output_logits(logits, predictor, options);

    // A score on features has columns of single networks only (has_column).
    const auto h = post->scores_features ? features_of(outputs, units, predictor)[0] : at::Tensor();
    return post->score(state, h, z);
  };
  return {{score_key(predictor, score)}, values, score.post->wide};
}

// Whether a score of ensembles is computed as SED's release computes it, not by its usual
// definition.
bool has_released_definition(const scores::ScoreInfo& info, const EvaluateOptions& options) {
  return options.convention == metrics::Convention::kSed && info.released_function;
}

scores::ScoreFunction score_function(const scores::ScoreInfo& info,
                                     const EvaluateOptions& options) {
  return has_released_definition(info, options) ? info.released_function : info.function;
}

ColumnGroup ensemble_score_column(const std::vector<int64_t>& units, const Predictor& predictor,
                                  const PlannedScore& score, const EvaluateOptions& options,
                                  std::optional<double> temperature) {
  const double divisor = temperature.value_or(1);
  const auto values = [=, function = score_function(*score.info, options)](
                          const MemberOutputs& outputs, const at::Tensor&) {
    const auto logits = unit_rows(outputs.logits, units, predictor.units);
    return function(divisor == 1 ? logits : logits / divisor, scores::InputKind::kLogits)
        .to(at::kDouble);
  };
  return {{score_key(predictor, score)}, values};
}

ColumnGroup shaped_score_column(const LoadedEnsemble& ensemble, const std::vector<int64_t>& units,
                                const Predictor& predictor, const PlannedScore& score,
                                const FittedStates& states, const EvaluateOptions& options) {
  // Only ReAct has a fitted state; the others depend on each sample alone.
  const auto state =
      score.shaping == Shaping::kReact ? find_state(states, predictor, score) : scores::State();
  std::vector<scores::LinearHead> heads;
  for (const int64_t unit : predictor.units) heads.push_back(ensemble.head(unit));
  const auto values = [=, function = score_function(*score.info, options)](
                          const MemberOutputs& outputs, const at::Tensor&) {
    const auto features = features_of(outputs, units, predictor);
    return function(shaped_logits(score, features, heads, state), scores::InputKind::kLogits)
        .to(at::kDouble);
  };
  return {{score_key(predictor, score)}, values};
}

}  // namespace

bool PlannedScore::larger_for_id(metrics::Convention convention) const {
  if (!info) return true;
  const auto positive =
      convention == metrics::Convention::kSed ? info->released_positive : info->positive;
  return positive == scores::Positive::kId;
}

bool PlannedScore::has_column(const Predictor& predictor) const {
  if (predictor.combined) {
    // Scores on features have no column for an ensemble: the mean over its networks is taken later.
    // Deviations need enough members.
    const auto networks = static_cast<int64_t>(predictor.units.size());
    return !mean_of_networks() && !(info && networks < info->min_members);
  }

  // A single network has no disagreement: such scores would be constant.
  return !info || (info->min_members == 1 && !info->constant_for_one_member);
}

std::optional<FitTarget> PlannedScore::fit_target() const {
  if (post) return PostprocessorFit{post, form, options};
  if (shaping != Shaping::kNone) return ShapingFit{shaping, options};
  return std::nullopt;
}

std::string PlannedScore::options_text() const {
  if (!options.has_value()) return "";
  return dissent::options_text(post ? *post : scores::find_postprocessor(option_name(shaping)),
                               options);
}

std::vector<PlannedScore> plan_scores(const EvaluateConfig& config) {
  std::vector<PlannedScore> plan;
  const auto add_postprocessor = [&](const scores::PostprocessorInfo& post, ScoreForm form) {
    PlannedScore score;
    score.name = form == ScoreForm::kOutput ? post.name : post.name + ":" + option_name(form);
    score.post = &post;
    score.form = form;
    score.options = options_of(config, post.name);
    plan.push_back(std::move(score));
  };

  for (const auto& name : config.evaluate.scores) {
    // A name in both tables is the score of ensembles, unless the table says otherwise (energy).
    const auto* info = find_by_name(scores::score_table(), name);
    const auto* post = find_by_name(scores::postprocessor_table(), name);
    if (info && !(post && info->postprocessor_preferred)) {
      PlannedScore score;
      score.name = name;
      score.info = info;
      plan.push_back(std::move(score));
      continue;
    }
    DISSENT_CHECK(post, kUsage,
                  "evaluate.scores: expected scores of `dissent config scores`, found '{}'", name);
    // Features belong to one network, so there is only one way to read them.
    if (post->scores_features)
      add_postprocessor(*post, ScoreForm::kOutput);
    else
      for (const auto form : config.evaluate.score_of) add_postprocessor(*post, form);
  }

  // Then each score of ensembles once more, from changed features.
  for (const auto shaping : config.evaluate.shaping)
    for (const auto& name : config.evaluate.scores) {
      const auto* info = find_by_name(scores::score_table(), name);
      if (!info) continue;
      PlannedScore score;
      score.name = option_name(shaping) + "+" + name;
      score.info = info;
      score.shaping = shaping;
      score.options = options_of(config, option_name(shaping));
      plan.push_back(std::move(score));
    }
  return plan;
}

ColumnKey score_key(const Predictor& predictor, const PlannedScore& score) {
  return {.kind = ColumnKind::kScore, .predictor = predictor.name, .score = score.name};
}

at::Tensor shaped_logits(const PlannedScore& score, const at::Tensor& features,
                         const std::vector<scores::LinearHead>& heads, const scores::State& state) {
  std::vector<at::Tensor> weights, biases;
  for (const auto& head : heads) {
    weights.push_back(head.weight);
    biases.push_back(head.bias);
  }

  // Shared features are expanded to one copy (a view) per head.
  const auto changed =
      shaped(score, features, state).expand({static_cast<int64_t>(heads.size()), -1, -1});
  return scores::head_logits(changed, at::stack(weights), at::stack(biases));
}

bool is_fused(const PlannedScore& score, const EvaluateOptions& options) {
  if (!score.info || score.shaping != Shaping::kNone) return false;
  return !has_released_definition(*score.info, options) && is_fused(*score.info);
}

ColumnGroup fused_columns(const std::vector<int64_t>& units, const Predictor& predictor,
                          const std::vector<const PlannedScore*>& scores,
                          std::optional<double> temperature) {
  ColumnGroup group;
  std::vector<const scores::ScoreInfo*> infos;
  for (const auto* score : scores) {
    group.keys.push_back(score_key(predictor, *score));
    infos.push_back(score->info);
  }

  // The kernel divides the rows among all threads itself.
  group.uses_all_threads = true;
  group.values = [=](const MemberOutputs& outputs, const at::Tensor&) {
    return fused_scores(unit_rows(outputs.logits, units, predictor.units), infos,
                        temperature.value_or(1));
  };
  return group;
}

ColumnGroup score_column(const LoadedEnsemble& ensemble, const std::vector<int64_t>& units,
                         const Predictor& predictor, const PlannedScore& score,
                         const FittedStates& states, const EvaluateOptions& options,
                         std::optional<double> temperature) {
  if (score.post) return postprocessor_column(units, predictor, score, states, options);
  if (score.shaping == Shaping::kNone)
    return ensemble_score_column(units, predictor, score, options, temperature);
  return shaped_score_column(ensemble, units, predictor, score, states, options);
}

}  // namespace dissent
