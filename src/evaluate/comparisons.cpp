// Differences between methods, with intervals.
#include <dissent/error.hpp>
#include <dissent/metrics/bootstrap.hpp>

#include "evaluate/figure_files.hpp"

namespace dissent {
namespace {

using Seeds = std::vector<size_t>;  // places of the ensembles of one method, by seed

struct Pair {
  std::string a, b;
  Seeds of_a, of_b;
};

Seeds seeds_of(const std::vector<LoadedEnsemble>& ensembles, const std::string& method) {
  Seeds places;
  for (size_t e = 0; e < ensembles.size(); ++e)
    if (ensembles[e].method == method) places.push_back(e);
  std::stable_sort(places.begin(), places.end(),
                   [&](size_t x, size_t y) { return ensembles[x].seed < ensembles[y].seed; });
  return places;
}

std::vector<Pair> pairs_of(const std::vector<LoadedEnsemble>& ensembles,
                           const EvaluateOptions& options) {
  std::vector<std::string> methods;
  for (const auto& ensemble : ensembles)
    if (!wants(methods, ensemble.method)) methods.push_back(ensemble.method);
  if (!wants(options.compare, "*")) {
    for (const auto& name : options.compare)
      DISSENT_CHECK(wants(methods, name), kUsage,
                    "evaluate.compare: expected methods of the runs that are loaded ({}), found "
                    "\"{}\"",
                    fmt::join(methods, ", "), name);
    methods = options.compare;
  }
  std::vector<Pair> pairs;
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

template <class Read>
at::Tensor stacked(const Seeds& places, Read read) {
  std::vector<at::Tensor> rows;
  for (const size_t e : places) rows.push_back(read(e));
  return at::stack(rows);
}

}  // namespace

void check_comparison(const std::vector<LoadedEnsemble>& ensembles,
                      const EvaluateOptions& options) {
  if (options.compare.empty()) return;
  const auto pairs = pairs_of(ensembles, options);
  DISSENT_CHECK(!pairs.empty(), kUsage,
                "evaluate.compare: expected runs of at least two methods, found {}",
                ensembles.empty() ? "none" : ensembles[0].method);
  for (const auto& pair : pairs) {
    const auto a = seeds_text(ensembles, pair.of_a), b = seeds_text(ensembles, pair.of_b);
    DISSENT_CHECK(a == b, kUsage,
                  "evaluate.compare: expected runs of the same seeds, found {} of {} and {} of {}",
                  a, pair.a, b, pair.b);
  }
}

std::vector<ResultRow> comparison_rows(const std::vector<LoadedEnsemble>& ensembles,
                                       const std::vector<std::vector<KeptSet>>& kept,
                                       const std::vector<PlannedScore>& scores,
                                       const EvaluateOptions& options) {
  std::vector<ResultRow> rows;
  if (options.compare.empty()) return rows;
  for (const auto& pair : pairs_of(ensembles, options)) {
    const auto add = [&](const KeptSet& set, const std::string& score, const std::string& metric,
                         const metrics::DifferenceInterval& found, int64_t n) {
      const auto name = fmt::format("{} - {}", pair.a, pair.b);
      for (const auto& [suffix, value] :
           {std::pair("", found.difference), {"_low", found.low}, {"_high", found.high}})
        rows.push_back({options.experiment, "", "", 0, name, ensembles[pair.of_a[0]].members(),
                        name, set.name, "test", set.shift, score, metric + suffix,
                        options.convention, "", value, n, options.experiment});
    };
    const auto& sets = kept[pair.of_a[0]];
    for (size_t k = 0; k < sets.size(); ++k) {
      const auto right = [&](size_t e) { return kept[e][k].right; };
      if (sets[k].right.defined())
        add(sets[k], "", "accuracy_difference",
            metrics::paired_bootstrap(stacked(pair.of_a, right), stacked(pair.of_b, right)),
            sets[k].right.numel());
      for (size_t s = 0; k > 0 && s < sets[k].scores.size(); ++s) {
        const double sign = scores[s].larger_for_id(options.convention) ? -1 : 1;
        const auto of = [&](const Seeds& seeds, size_t set) {
          return stacked(seeds, [&](size_t e) { return kept[e][set].scores[s] * sign; });
        };
        const auto found = metrics::paired_bootstrap_auroc({of(pair.of_a, k), of(pair.of_a, 0)},
                                                           {of(pair.of_b, k), of(pair.of_b, 0)});
        add(sets[k], scores[s].name, "auroc_difference", found,
            sets[k].scores[s].numel() + sets[0].scores[s].numel());
      }
    }
  }
  return rows;
}

}  // namespace dissent
