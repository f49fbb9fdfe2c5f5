// Which predictors and columns an evaluation needs.
#include <dissent/error.hpp>

#include "core/random.hpp"
#include "evaluate/evaluator.hpp"

namespace dissent {
namespace {

bool needs_members(const EvaluateOptions& options) {
  return wants(options.predictors, "best") || wants(options.predictors, "mean") ||
         wants(options.predictors, "members");
}

// Scores of a predictor whose columns are computed: of groups those that read combined outputs, of
// one network those that say anything of one.
bool has_column(const Predictor& predictor, const PlannedScore& score) {
  if (!predictor.group) return score.of_one_network();
  return !score.mean_of_networks() &&
         !(score.info && static_cast<int64_t>(predictor.units.size()) < score.info->min_members);
}

// Number of subsets of `size` of `members`, at most `limit` + 1.
int64_t subset_count(int64_t members, int64_t size, int64_t limit) {
  double count = 1;
  for (int64_t i = 0; i < size; ++i)
    count = count * static_cast<double>(members - i) / static_cast<double>(i + 1);
  return count > static_cast<double>(limit) ? limit + 1 : static_cast<int64_t>(count + 0.5);
}

bool next_subset(std::vector<int64_t>& subset, int64_t members) {
  const auto size = static_cast<int64_t>(subset.size());
  int64_t i = size - 1;
  while (i >= 0 && subset[i] == members - size + i) --i;
  if (i < 0) return false;
  ++subset[i];
  for (int64_t j = i + 1; j < size; ++j) subset[j] = subset[j - 1] + 1;
  return true;
}

// All subsets of a size, or so many that are drawn by counters (without repetition).
std::vector<std::vector<int64_t>> subsets_of(int64_t members, int64_t size, int64_t limit) {
  std::vector<std::vector<int64_t>> subsets;
  if (subset_count(members, size, limit) <= limit) {
    auto subset = all_of(size);
    do subsets.push_back(subset);
    while (next_subset(subset, members));
    return subsets;
  }
  for (int64_t draw = 0; static_cast<int64_t>(subsets.size()) < limit; ++draw) {
    auto subset = Random(1, Purpose::kNoise, size, draw).choose(members, size);
    if (std::find(subsets.begin(), subsets.end(), subset) == subsets.end())
      subsets.push_back(std::move(subset));
  }
  return subsets;
}

}  // namespace

Cast cast_of(const LoadedEnsemble& ensemble, const Choices& choices,
             const EvaluateOptions& options) {
  Cast cast;
  const bool mean_of_networks =
      std::any_of(choices.scores.begin(), choices.scores.end(),
                  [](const auto& score) { return score.mean_of_networks(); });
  const bool ensembles = wants(options.predictors, "ensemble") || options.figures ||
                         !options.compare.empty(),
             greedy = wants(options.predictors, "greedy") && !choices.greedy.empty();
  if (ensembles) cast.groups.push_back({"ensemble", all_of(ensemble.members()), true});
  if (greedy) cast.groups.push_back({"greedy", choices.greedy, true});
  for (size_t s = 0; s < ensemble.soups.size(); ++s)
    if (wants(options.predictors, ensemble.soups[s].predictor))
      cast.singles.push_back(
          {ensemble.soups[s].predictor, {ensemble.members() + static_cast<int64_t>(s)}, false});
  if (needs_members(options) || (mean_of_networks && (ensembles || greedy)))
    for (int64_t m = 0; m < ensemble.members(); ++m)
      cast.singles.push_back({ensemble.unit_name(m), {m}, false});
  for (int64_t size = 1; options.sub_ensembles > 0 && size <= ensemble.members(); ++size) {
    int64_t number = 0;
    for (auto& subset : subsets_of(ensemble.members(), size, options.sub_ensembles))
      cast.subsets.push_back({fmt::format("size:{}:{}", size, number++), std::move(subset), true});
  }
  return cast;
}

ColumnPlan column_plan(const LoadedEnsemble& ensemble, const Cast& cast,
                       const std::vector<PlannedScore>& scores, const FittedStates& states,
                       const EvaluateOptions& options, const CalibratorMap& calibrators,
                       Asked asked) {
  ColumnPlan plan;
  std::vector<bool> used(ensemble.units(), false);
  if (!options.diversity.empty()) std::fill_n(used.begin(), ensemble.members(), true);
  for (const auto* list : {&cast.groups, &cast.singles, &cast.subsets})
    for (const auto& predictor : *list)
      for (const int64_t unit : predictor.units) used[unit] = true;
  for (int64_t unit = 0; unit < ensemble.units(); ++unit)
    if (used[unit]) plan.units.push_back(unit);
  const auto of = [&](const Predictor& predictor) {
    const auto found = calibrators.find(predictor.name);
    return found == calibrators.end() ? Calibrators() : found->second;
  };
  const bool some_classes = asked.set && !asked.set->classes.empty();
  for (const auto* list : {&cast.groups, &cast.singles, &cast.subsets})
    for (const auto& predictor : *list) {
      if (asked.labelled && some_classes)
        plan.groups.push_back(subset_columns(plan, predictor, options, *asked.set));
      if (some_classes) continue;
      if (asked.labelled)
        plan.groups.push_back(label_columns(plan, predictor, options, of(predictor)));
      const auto temperature =
          options.temperature_in_scores ? of(predictor).temperature : std::nullopt;
      std::vector<const PlannedScore*> fused;
      for (const auto& score : scores) {
        // Sub-ensembles have the scores of ensembles alone: nothing is fitted for them.
        if (!has_column(predictor, score) ||
            (list == &cast.subsets && (score.post || !score.shaping.empty())))
          continue;
        if (is_fused(score, options)) {
          fused.push_back(&score);
          continue;
        }
        plan.groups.push_back(
            score_column(ensemble, plan, predictor, score, states, options, temperature));
        plan.features = plan.features || score.reads_features();
      }
      if (!fused.empty()) plan.groups.push_back(fused_column(plan, predictor, fused, temperature));
    }
  return plan;
}

std::vector<FitRequest> fit_requests(size_t ensemble, const Cast& cast,
                                     const std::vector<PlannedScore>& scores) {
  std::vector<FitRequest> requests;
  for (const auto* list : {&cast.groups, &cast.singles})
    for (const auto& predictor : *list)
      for (const auto& score : scores)
        if (has_column(predictor, score) && (score.post || !score.shaping.empty()))
          requests.push_back({ensemble, predictor, score});
  return requests;
}

}  // namespace dissent
