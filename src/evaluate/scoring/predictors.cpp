#include "evaluate/scoring/predictors.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include "core/random.hpp"
#include "evaluate/scoring/score_plan.hpp"

namespace dissent {
namespace {

// Number of subsets of `size` of `members`, at most `limit` + 1.
int64_t subset_count(int64_t members, int64_t size, int64_t limit) {
  // In floating point, which does not overflow for many members; only compared with the limit.
  double count = 1;
  for (int64_t i = 0; i < size; ++i)
    count = count * static_cast<double>(members - i) / static_cast<double>(i + 1);
  return count > static_cast<double>(limit) ? limit + 1 : static_cast<int64_t>(count + 0.5);
}

// Moves to the next subset in lexicographic order; false after the last one.
bool next_subset(std::vector<int64_t>& subset, int64_t members) {
  // The last element that can still grow, and the smallest elements after it.
  const auto size = static_cast<int64_t>(subset.size());
  int64_t i = size - 1;
  while (i >= 0 && subset[i] == members - size + i) --i;
  if (i < 0) return false;
  ++subset[i];
  for (int64_t j = i + 1; j < size; ++j) subset[j] = subset[j - 1] + 1;
  return true;
}

// All subsets of a size, or `limit` distinct ones drawn by counters, the same in every evaluation.
std::vector<std::vector<int64_t>> subsets_of(int64_t members, int64_t size, int64_t limit) {
  std::vector<std::vector<int64_t>> subsets;
  if (subset_count(members, size, limit) <= limit) {
    auto subset = all_of(size);
    do subsets.push_back(subset);
    while (next_subset(subset, members));
    return subsets;
  }

  // Too many to list: draws without repetition.
  for (int64_t draw = 0; static_cast<int64_t>(subsets.size()) < limit; ++draw) {
    auto subset = Random(1, Purpose::kNoise, size, draw).choose(members, size);
    if (!contains(subsets, subset)) subsets.push_back(std::move(subset));
  }
  return subsets;
}

}  // namespace

std::vector<const Predictor*> PredictorSet::all() const {
  auto predictors = without_sub_ensembles();
  for (const auto& predictor : sub_ensembles) predictors.push_back(&predictor);
  return predictors;
}

std::vector<const Predictor*> PredictorSet::without_sub_ensembles() const {
  std::vector<const Predictor*> predictors;
  for (const auto* list : {&combined, &networks})
    for (const auto& predictor : *list) predictors.push_back(&predictor);
  return predictors;
}

PredictorSet predictors_of(const LoadedEnsemble& ensemble, const std::vector<PlannedScore>& scores,
                           const std::vector<int64_t>& greedy_members,
                           const EvaluateOptions& options) {
  using enum ReportedPredictor;
  PredictorSet predictors;
  const auto reported = [&](ReportedPredictor predictor) {
    return contains(options.predictors, predictor);
  };

  // Plots and comparisons use the ensemble even if its metrics are not reported.
  const bool ensemble_needed = reported(kEnsemble) || options.plots || !options.compare.empty();
  const bool greedy_needed = reported(kGreedy) && !greedy_members.empty();
  if (ensemble_needed)
    predictors.combined.push_back({option_name(kEnsemble), all_of(ensemble.members()), true});
  if (greedy_needed) predictors.combined.push_back({option_name(kGreedy), greedy_members, true});

  // The units of soups follow those of the members.
  for (size_t s = 0; s < ensemble.soups.size(); ++s)
    if (reported(ensemble.soups[s].predictor))
      predictors.networks.push_back({option_name(ensemble.soups[s].predictor),
                                     {ensemble.members() + static_cast<int64_t>(s)},
                                     false});

  // Members: for their own rows, and for scores that are means over the networks of a predictor.
  const bool averages_scores =
      std::any_of(scores.begin(), scores.end(),
                  [](const PlannedScore& score) { return score.mean_of_networks(); });
  const bool members_needed = reported(kBest) || reported(kMean) || reported(kMembers) ||
                              (averages_scores && (ensemble_needed || greedy_needed));
  if (members_needed)
    for (int64_t m = 0; m < ensemble.members(); ++m)
      predictors.networks.push_back({ensemble.unit_name(m), {m}, false});

  // Named by size and number; result rows have mean and deviation over those of one size.
  if (options.sub_ensembles == 0) return predictors;
  for (int64_t size = 1; size <= ensemble.members(); ++size) {
    int64_t number = 0;
    for (auto& subset : subsets_of(ensemble.members(), size, options.sub_ensembles))
      predictors.sub_ensembles.push_back(
          {fmt::format("size:{}:{}", size, number++), std::move(subset), true, true});
  }
  return predictors;
}

at::Tensor output_logits(const at::Tensor& logits, const Predictor& predictor,
                         const EvaluateOptions& options) {
  if (!predictor.combined) return logits[0];
  if (options.combine == Combine::kMeanProbabilities) return scores::log_mean_probabilities(logits);
  if (options.combine == Combine::kProductOfExperts) return scores::product_of_experts(logits);
  if (options.weights.empty()) return scores::mean_logits(logits);

  // Weights are per member, also for a part of the members (greedy, sub-ensembles); they are
  // normalised over this part.
  std::vector<double> weights;
  for (const int64_t unit : predictor.units) weights.push_back(options.weights[unit]);
  return scores::weighted_logits(logits, at::tensor(weights, logits.options()));
}

at::Tensor unit_rows(const at::Tensor& values, const std::vector<int64_t>& units,
                     const std::vector<int64_t>& selected) {
  std::vector<int64_t> places;
  bool contiguous = true;
  for (const int64_t unit : selected) {
    const auto found = std::find(units.begin(), units.end(), unit);
    DISSENT_CHECK(found != units.end(), kInternal, "outputs: expected unit {}, found {}", unit,
                  fmt::join(units, ", "));
    places.push_back(found - units.begin());
    contiguous =
        contiguous && (places.size() == 1 || places.back() == places[places.size() - 2] + 1);
  }

  // Neighbouring units are a view, without a copy.
  if (contiguous) return values.narrow(0, places[0], static_cast<int64_t>(places.size()));
  return values.index_select(0, at::tensor(at::ArrayRef<int64_t>(places), at::kLong));
}

}  // namespace dissent
