#include "evaluate/score_plan.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/shaped_energy.hpp>
#include <dissent/scores/shaping.hpp>

#include "evaluate/fused_scores.hpp"

namespace dissent {
namespace {

template <class Info>
const Info* find_row(const std::vector<Info>& table, const std::string& name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Info& row) { return row.name == name; });
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
  if (score.shaping == "react") return scores::react(features, state.at("threshold"));
  if (score.shaping == "ash_p") return scores::ash_p(features, percentile_of(score));
  if (score.shaping == "ash_b") return scores::ash_b(features, percentile_of(score));
  if (score.shaping == "ash_s") return scores::ash_s(features, percentile_of(score));
  return scores::scale(features, percentile_of(score));
}

const scores::State& state_of(const FittedStates& states, const Predictor& predictor,
                              const PlannedScore& score) {
  const auto found = states.find(state_key(predictor, score));
  DISSENT_CHECK(found != states.end(), kInternal, "nothing was fitted for {}",
                state_key(predictor, score));
  return found->second;
}

}  // namespace

bool PlannedScore::larger_for_id(const std::string& convention) const {
  if (!info) return true;
  return (convention == "sed" ? info->released_positive : info->positive) == scores::Positive::kId;
}

bool PlannedScore::of_one_network() const {
  if (!info) return true;
  const auto& diversity = {"pds", "different_predictions", "mutual_information", "similarity"};
  return info->min_members == 1 &&
         std::none_of(diversity.begin(), diversity.end(),
                      [&](const char* name) { return info->name == name; });
}

std::vector<PlannedScore> plan_scores(const EvaluateConfig& config) {
  std::vector<PlannedScore> plan;
  for (const auto& name : config.evaluate.scores) {
    const auto* info = name == "energy" ? nullptr : find_row(scores::score_table(), name);
    const auto* post = info ? nullptr : find_row(scores::postprocessor_table(), name);
    if (info) {
      plan.push_back({.name = name,
                      .info = info,
                      .post = nullptr,
                      .shaping = {},
                      .form = "output",
                      .options = {}});
      continue;
    }
    DISSENT_CHECK(post, kUsage,
                  "evaluate.scores: expected scores of `dissent config scores`, found '{}'", name);
    const auto forms =
        post->scores_features ? std::vector<std::string>{"output"} : config.evaluate.score_of;
    for (const auto& form : forms)
      plan.push_back({.name = form == "output" ? name : name + ":" + form,
                      .info = nullptr,
                      .post = post,
                      .shaping = {},
                      .form = form,
                      .options = options_of(config, name)});
  }
  for (const auto& shaping : config.evaluate.shaping)
    for (const auto& name : config.evaluate.scores)
      if (const auto* info = find_row(scores::score_table(), name))
        plan.push_back({.name = shaping + "+" + name,
                        .info = info,
                        .post = nullptr,
                        .shaping = shaping,
                        .form = "output",
                        .options = options_of(config, shaping)});
  return plan;
}

std::string options_text(const PlannedScore& score) {
  if (!score.options.has_value()) return "";
  const auto& post = score.post ? *score.post : scores::find_postprocessor(score.shaping);
  auto options = score.options;
  std::vector<std::string> parts;
  for (const auto& option : post.options.options)
    if (option.info.scope == Scope::kResult)
      parts.push_back(fmt::format("{} = {}", option.key, option.text(post.struct_of(options))));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string state_key(const Predictor& predictor, const PlannedScore& score) {
  // Scores of one shaping share what was fitted, and so do forms that read the same logits.
  const bool means = score.post && predictor.group && score.form == "mean_probabilities";
  const auto name =
      score.post ? score.post->name + (means ? ":mean_probabilities" : "") : score.shaping + "+";
  return fmt::format("{}|{}|{}", predictor.name, name, options_text(score));
}

std::string score_key(const Predictor& predictor, const PlannedScore& score) {
  return predictor.name + "|" + score.name;
}

at::Tensor unit_rows(const at::Tensor& values, const std::vector<int64_t>& units,
                     const std::vector<int64_t>& wanted) {
  std::vector<int64_t> places;
  bool contiguous = true;
  for (const int64_t unit : wanted) {
    const auto found = std::find(units.begin(), units.end(), unit);
    DISSENT_CHECK(found != units.end(), kInternal, "outputs lack unit {}", unit);
    places.push_back(found - units.begin());
    contiguous =
        contiguous && (places.size() == 1 || places.back() == places[places.size() - 2] + 1);
  }
  if (contiguous) return values.narrow(0, places[0], static_cast<int64_t>(places.size()));
  return values.index_select(0, at::tensor(at::ArrayRef<int64_t>(places), at::kLong));
}

at::Tensor output_logits(const at::Tensor& logits, const Predictor& predictor,
                         const EvaluateOptions& options) {
  if (!predictor.group) return logits[0];
  if (options.combine == "mean_probabilities") return scores::log_mean_probabilities(logits);
  if (options.combine == "product_of_experts") return scores::product_of_experts(logits);
  if (options.weights.empty()) return scores::mean_logits(logits);
  std::vector<double> weights;
  for (const int64_t unit : predictor.units) weights.push_back(options.weights[unit]);
  return scores::weighted_logits(logits, at::tensor(weights, logits.options()));
}

at::Tensor shaped_logits(const PlannedScore& score, const at::Tensor& features,
                         const std::vector<scores::LinearHead>& heads, const scores::State& state) {
  std::vector<at::Tensor> weights, biases;
  for (const auto& head : heads) {
    weights.push_back(head.weight);
    biases.push_back(head.bias);
  }
  const auto changed =
      shaped(score, features, state).expand({static_cast<int64_t>(heads.size()), -1, -1});
  return scores::head_logits(changed, at::stack(weights), at::stack(biases));
}

bool is_fused(const PlannedScore& score, const EvaluateOptions& options) {
  const bool released = options.convention == "sed" && score.info && score.info->released_function;
  return score.info && score.shaping.empty() && !released && is_fused(score.info->name);
}

ColumnGroup fused_column(const ColumnPlan& plan, const Predictor& predictor,
                         const std::vector<const PlannedScore*>& scores,
                         std::optional<double> temperature) {
  ColumnGroup group;
  std::vector<std::string> names;
  for (const auto* score : scores) {
    group.keys.push_back(score_key(predictor, *score));
    names.push_back(score->info->name);
  }
  group.wide = true;
  group.values = [=, units = plan.units](const MemberOutputs& outputs, const at::Tensor&) {
    return fused_scores(unit_rows(outputs.logits, units, predictor.units), names,
                        temperature.value_or(1));
  };
  return group;
}

ColumnGroup score_column(const LoadedEnsemble& ensemble, const ColumnPlan& plan,
                         const Predictor& predictor, const PlannedScore& score,
                         const FittedStates& states, const EvaluateOptions& options,
                         std::optional<double> temperature) {
  const auto units = plan.units;
  const auto features_of = [units, predictor](const MemberOutputs& outputs) {
    return outputs.features.size(0) == 1 ? outputs.features
                                         : unit_rows(outputs.features, units, predictor.units);
  };
  const auto key = score_key(predictor, score);
  if (score.post) {
    const auto state = state_of(states, predictor, score);
    const bool means = predictor.group && score.form == "mean_probabilities";
    return {{key},
            [=, post = score.post](const MemberOutputs& outputs, const at::Tensor&) {
              const auto logits = unit_rows(outputs.logits, units, predictor.units);
              const auto z = means ? scores::log_mean_probabilities(logits)
                                   : output_logits(logits, predictor, options);
              return post->score(state,
                                 post->scores_features ? features_of(outputs)[0] : at::Tensor(), z);
            },
            score.post->wide};
  }
  const bool released = options.convention == "sed" && score.info->released_function;
  const auto function = released ? score.info->released_function : score.info->function;
  const double divisor = temperature.value_or(1);
  if (score.shaping.empty())
    return {{key}, [=](const MemberOutputs& outputs, const at::Tensor&) {
              const auto logits = unit_rows(outputs.logits, units, predictor.units);
              return function(divisor == 1 ? logits : logits / divisor, scores::InputKind::kLogits)
                  .to(at::kDouble);
            }};
  const auto state =
      score.shaping == "react" ? state_of(states, predictor, score) : scores::State();
  std::vector<scores::LinearHead> heads;
  for (const int64_t unit : predictor.units) heads.push_back(ensemble.head(unit));
  return {{key}, [=](const MemberOutputs& outputs, const at::Tensor&) {
            return function(shaped_logits(score, features_of(outputs), heads, state),
                            scores::InputKind::kLogits)
                .to(at::kDouble);
          }};
}

}  // namespace dissent
