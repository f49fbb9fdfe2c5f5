// Differences between methods, with intervals.
#include "evaluate/results/comparisons.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/metrics/bootstrap.hpp>

namespace dissent {
namespace {

// Places of the ensembles of one method in the list of ensembles, ordered by seed.
using Seeds = std::vector<size_t>;

struct MethodPair {
  std::string a, b;
  Seeds seeds_a, seeds_b;
};

Seeds seeds_of(const std::vector<LoadedEnsemble>& ensembles, const std::string& method) {
  Seeds places;
  for (size_t e = 0; e < ensembles.size(); ++e)
    if (ensembles[e].method == method) places.push_back(e);
  std::stable_sort(places.begin(), places.end(),
                   [&](size_t x, size_t y) { return ensembles[x].seed < ensembles[y].seed; });
  return places;
}

std::vector<std::string> compared_methods(const std::vector<LoadedEnsemble>& ensembles,
                                          const EvaluateOptions& options) {
  std::vector<std::string> loaded;
  for (const auto& ensemble : ensembles)
    if (!contains(loaded, ensemble.method)) loaded.push_back(ensemble.method);

  if (contains(options.compare, "*")) return loaded;
  for (const auto& name : options.compare)
    DISSENT_CHECK(contains(loaded, name), kUsage,
                  "evaluate.compare: expected methods of the loaded runs ({}), found \"{}\"",
                  fmt::join(loaded, ", "), name);
  return options.compare;
}

std::vector<MethodPair> pairs_of(const std::vector<LoadedEnsemble>& ensembles,
                                 const EvaluateOptions& options) {
  const auto methods = compared_methods(ensembles, options);
  std::vector<MethodPair> pairs;
  for (size_t i = 0; i < methods.size(); ++i)
    for (size_t j = i + 1; j < methods.size(); ++j)
      pairs.push_back({methods[i], methods[j], seeds_of(ensembles, methods[i]),
                       seeds_of(ensembles, methods[j])});
  return pairs;
}

std::string seeds_text(const std::vector<LoadedEnsemble>& ensembles, const Seeds& places) {
  std::vector<int64_t> seeds;
  for (const size_t e : places) seeds.push_back(ensembles[e].seed);
  return fmt::format("{}", fmt::join(seeds, ", "));
}

// [S, N]: read(e) for the ensembles of a method.
template <class Read>
at::Tensor stacked(const Seeds& places, Read read) {
  std::vector<at::Tensor> rows;
  for (const size_t e : places) rows.push_back(read(e));
  return at::stack(rows);
}

// The rows of one pair of methods.
class PairRows {
 public:
  PairRows(const MethodPair& pair, int64_t members, const EvaluateOptions& options)
      : name_(fmt::format("{} - {}", pair.a, pair.b)), members_(members), options_(options) {}

  void add(const SetScores& set, const std::string& score, const std::string& metric,
           const metrics::DifferenceInterval& found, int64_t n) {
    // A difference belongs to two methods, so run, hash and seed are empty; printed_table() finds
    // these rows by the empty run.
    for (const auto& [suffix, value] :
         {std::pair("", found.difference), {"_low", found.low}, {"_high", found.high}})
      rows_.push_back({.experiment = options_.experiment,
                       .run = "",
                       .config_hash = "",
                       .seed = 0,
                       .method = name_,
                       .members = members_,
                       .predictor = name_,
                       .dataset = set.name,
                       .split = "test",
                       .shift = option_name(set.shift),
                       .score = score,
                       .metric = metric + suffix,
                       .convention = metrics::convention_name(options_.convention),
                       .fidelity = "",
                       .value = value,
                       .n = n,
                       .evaluation = options_.experiment});
  }
  std::vector<ResultRow> take() { return std::move(rows_); }

 private:
  std::string name_;
  int64_t members_;
  const EvaluateOptions& options_;
  std::vector<ResultRow> rows_;
};

}  // namespace

void check_comparison(const std::vector<LoadedEnsemble>& ensembles,
                      const EvaluateOptions& options) {
  if (options.compare.empty()) return;
  const auto pairs = pairs_of(ensembles, options);
  DISSENT_CHECK(!pairs.empty(), kUsage,
                "evaluate.compare: expected runs of at least two methods, found {}",
                ensembles.empty() ? "none" : ensembles[0].method);

  // The bootstrap resamples seeds in pairs, so each seed has to be there for both methods.
  for (const auto& pair : pairs) {
    const auto a = seeds_text(ensembles, pair.seeds_a), b = seeds_text(ensembles, pair.seeds_b);
    DISSENT_CHECK(
        a == b, kUsage,
        "evaluate.compare: expected the same seeds for all methods, found {} for {} and {} for {}",
        a, pair.a, b, pair.b);
  }
}

std::vector<ResultRow> comparison_rows(const std::vector<LoadedEnsemble>& ensembles,
                                       const std::vector<std::vector<SetScores>>& sets,
                                       const std::vector<PlannedScore>& scores,
                                       const EvaluateOptions& options) {
  if (options.compare.empty()) return {};
  std::vector<ResultRow> all;
  for (const auto& pair : pairs_of(ensembles, options)) {
    // Every ensemble has the same sets and scores, so one of them names the rows.
    const size_t first = pair.seeds_a[0];
    PairRows rows(pair, ensembles[first].members(), options);
    for (size_t k = 0; k < sets[first].size(); ++k) {
      const auto& set = sets[first][k];

      // Accuracy: the difference of the shares of correct predictions, on labelled sets.
      const auto correct = [&](size_t e) { return sets[e][k].correct; };
      if (set.correct.defined())
        rows.add(set, "", "accuracy_difference",
                 metrics::paired_bootstrap(stacked(pair.seeds_a, correct),
                                           stacked(pair.seeds_b, correct)),
                 set.correct.numel());

      // Scores tell every other set from the in-distribution set, which comes first. Unknown inputs
      // are the positive class.
      if (k == 0) continue;
      for (size_t s = 0; s < set.scores.size(); ++s) {
        const double sign = scores[s].larger_for_id(options.convention) ? -1 : 1;
        const auto values = [&](const Seeds& seeds, size_t of_set) {
          return stacked(seeds, [&](size_t e) { return sets[e][of_set].scores[s] * sign; });
        };
        const auto found =
            metrics::paired_bootstrap_auroc({values(pair.seeds_a, k), values(pair.seeds_a, 0)},
                                            {values(pair.seeds_b, k), values(pair.seeds_b, 0)});
        rows.add(set, scores[s].name, "auroc_difference", found,
                 set.scores[s].numel() + sets[first][0].scores[s].numel());
      }
    }
    for (auto& row : rows.take()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace dissent
