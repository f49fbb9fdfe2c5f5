#include <dissent/metrics/bootstrap.hpp>

#include "core/parallel.hpp"
#include "core/random.hpp"
#include "metrics/host_values.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dissent::metrics {
namespace {

constexpr Purpose kResampling{20};

// How often each sample was drawn.
using Draws = std::vector<uint32_t>;

Draws draw(int64_t count, Random random) {
  // Counts instead of a list of draws: the AUROC of a resample then needs no new sort.
  Draws drawn(count, 0);
  for (int64_t i = 0; i < count; ++i) ++drawn[random.below(static_cast<uint32_t>(count))];
  return drawn;
}

// The difference of one seed's runs for given draws of each pool of samples.
using SeedDifference = std::function<double(int64_t seed, const std::vector<Draws>& draws)>;

double percentile(const std::vector<double>& sorted, double share) {
  // Linear between order statistics, as numpy's default.
  const double at = share * static_cast<double>(sorted.size() - 1), below = std::floor(at);
  const auto i = static_cast<size_t>(below);
  return i + 1 < sorted.size() ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

double mean_over_seeds(const SeedDifference& difference, const std::vector<Draws>& draws,
                       const Draws& seeds) {
  // The mean over seeds, each as often as it was drawn.
  double sum = 0;
  for (size_t s = 0; s < seeds.size(); ++s)
    if (seeds[s] > 0)
      sum += static_cast<double>(seeds[s]) * difference(static_cast<int64_t>(s), draws);
  return sum / static_cast<double>(seeds.size());
}

DifferenceInterval resample(int64_t seeds, const std::vector<int64_t>& pools,
                            const SeedDifference& difference, const BootstrapOptions& options) {
  std::vector<Draws> once;
  for (const int64_t count : pools) once.emplace_back(count, 1);

  // Each resample draws samples and seeds with replacement, from random numbers that its own
  // number keys: the interval is the same for any number of threads.
  std::vector<double> values(options.resamples);
  parallel_tasks(options.resamples, [&](int64_t r) {
    std::vector<Draws> draws;
    for (size_t p = 0; p < pools.size(); ++p)
      draws.push_back(draw(pools[p], Random(options.seed, kResampling, r, p + 1)));
    values[r] =
        mean_over_seeds(difference, draws, draw(seeds, Random(options.seed, kResampling, r, 0)));
  });

  std::sort(values.begin(), values.end());

  // The difference itself is that of the given samples, each once; the interval is that of
  // percentiles.
  DifferenceInterval interval;
  interval.difference = mean_over_seeds(difference, once, Draws(seeds, 1));
  interval.low = percentile(values, (1 - options.level) / 2);
  interval.high = percentile(values, (1 + options.level) / 2);

  // The standard error is the deviation of the resampled differences.
  const double mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  interval.standard_error = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return interval;
}

void check_options(const char* function, const BootstrapOptions& options) {
  DISSENT_CHECK(options.resamples >= 2, kUsage, "{}: resamples: expected 2 or more, found {}",
                function, options.resamples);
  DISSENT_CHECK(options.level > 0 && options.level < 1, kUsage,
                "{}: level: expected above 0 and below 1, found {}", function, options.level);
}

// [S, N] f64 on the CPU of [N] or [S, N].
at::Tensor seed_rows(const char* function, const char* name, const at::Tensor& values) {
  const bool fits = values.defined() && (values.dim() == 1 || values.dim() == 2) &&
                    values.size(0) >= 1 && values.size(-1) >= 1 &&
                    (values.scalar_type() == at::kFloat || values.scalar_type() == at::kDouble ||
                     values.scalar_type() == at::kBool);
  DISSENT_CHECK(fits && values.size(-1) < (int64_t{1} << 32), kUsage,
                "{}: {}: expected [N >= 1] or [S >= 1, N] of f32, f64 or bool, found {}", function,
                name, describe(values));

  // Without seeds: one.
  return at::atleast_2d(values.detach().to(at::kCPU, at::kDouble)).contiguous();
}

void check_same(const char* function, const char* name, const at::Tensor& given,
                const at::Tensor& like) {
  DISSENT_CHECK(given.sizes() == like.sizes(), kUsage, "{}: {}: expected [{}], found [{}]",
                function, name, fmt::join(like.sizes().begin(), like.sizes().end(), ", "),
                fmt::join(given.sizes().begin(), given.sizes().end(), ", "));
}

// Scores of one run in descending order; AUROC for given draws without sorting again.
class SortedRun {
 public:
  SortedRun(const double* positive, int64_t positives, const double* negative, int64_t negatives)
      : positives_(positives) {
    // Positives are numbered from 0, negatives follow.
    std::vector<std::pair<double, int64_t>> scores;
    for (int64_t i = 0; i < positives; ++i) scores.emplace_back(positive[i], i);
    for (int64_t i = 0; i < negatives; ++i) scores.emplace_back(negative[i], positives + i);
    std::sort(scores.begin(), scores.end(),
              [](const auto& a, const auto& b) { return a.first > b.first; });
    for (size_t i = 0; i < scores.size(); ++i) {
      order_.push_back(static_cast<uint32_t>(scores[i].second));
      ends_tie_.push_back(i + 1 == scores.size() || scores[i].first != scores[i + 1].first);
    }
  }
  double auroc(const Draws& positive, const Draws& negative) const {
    // Twice the number of correctly ordered pairs (positive above negative), so that ties count
    // 1/2 in integers.
    uint64_t twice = 0, above = 0, tied_positives = 0, tied_negatives = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      if (order_[i] < positives_)
        tied_positives += positive[order_[i]];
      else
        tied_negatives += negative[order_[i] - positives_];

      // At the end of a tie: pairs with positives above count twice, tied pairs once.
      if (!ends_tie_[i]) continue;
      twice += tied_negatives * (2 * above + tied_positives);
      above += tied_positives;
      tied_positives = tied_negatives = 0;
    }
    return static_cast<double>(twice) /
           (2 * static_cast<double>(positive.size()) * static_cast<double>(negative.size()));
  }

 private:
  int64_t positives_;
  std::vector<uint32_t> order_;
  std::vector<bool> ends_tie_;
};

std::vector<SortedRun> sorted_runs(const char* name, const ScoredSets& sets, at::Tensor& positive,
                                   at::Tensor& negative) {
  constexpr auto kFunction = "paired_bootstrap_auroc";
  positive = seed_rows(kFunction, fmt::format("{}.positive", name).c_str(), sets.positive);
  negative = seed_rows(kFunction, fmt::format("{}.negative", name).c_str(), sets.negative);
  DISSENT_CHECK(positive.size(0) == negative.size(0), kUsage,
                "{}: {}: expected as many seeds of both sets, found {} and {}", kFunction, name,
                positive.size(0), negative.size(0));
  check_no_nan(kFunction, positive);
  check_no_nan(kFunction, negative);

  // Sorted once per run, and read by every resample.
  std::vector<SortedRun> runs;
  for (int64_t s = 0; s < positive.size(0); ++s)
    runs.emplace_back(positive[s].const_data_ptr<double>(), positive.size(1),
                      negative[s].const_data_ptr<double>(), negative.size(1));
  return runs;
}

}  // namespace

DifferenceInterval paired_bootstrap(const at::Tensor& a, const at::Tensor& b,
                                    BootstrapOptions options) {
  check_options("paired_bootstrap", options);
  const auto first = seed_rows("paired_bootstrap", "a", a),
             second = seed_rows("paired_bootstrap", "b", b);
  check_same("paired_bootstrap", "b", second, first);

  // Paired: both methods are resampled with the same draws, so only their differences are needed.
  const auto difference = first - second;
  const auto bad = difference.isfinite().logical_not().sum().item<int64_t>();
  DISSENT_CHECK(bad == 0, kData,
                "paired_bootstrap: expected finite differences, found {} of {} that are not", bad,
                difference.numel());

  // The mean difference of one seed with each sample as often as it was drawn.
  const int64_t count = difference.size(1);
  const auto mean = [&](int64_t seed, const std::vector<Draws>& draws) {
    const auto* value = difference.const_data_ptr<double>() + seed * count;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(draws[0][i]) * value[i];
    return sum / static_cast<double>(count);
  };
  return resample(difference.size(0), {count}, mean, options);
}

DifferenceInterval paired_bootstrap_auroc(const ScoredSets& a, const ScoredSets& b,
                                          BootstrapOptions options) {
  check_options("paired_bootstrap_auroc", options);
  at::Tensor positive_a, negative_a, positive_b, negative_b;
  const auto first = sorted_runs("a", a, positive_a, negative_a),
             second = sorted_runs("b", b, positive_b, negative_b);
  check_same("paired_bootstrap_auroc", "b.positive", positive_b, positive_a);
  check_same("paired_bootstrap_auroc", "b.negative", negative_b, negative_a);

  // SortedRun::auroc() counts twice the pairs in 64 bits. The limit is divided, so that the
  // comparison itself cannot overflow.
  DISSENT_CHECK(positive_a.size(1) < (int64_t{1} << 31) / negative_a.size(1) * (int64_t{1} << 31),
                kUsage,
                "paired_bootstrap_auroc: expected fewer than 2^62 pairs, found {} positive and {} "
                "negative samples",
                positive_a.size(1), negative_a.size(1));

  // Positives and negatives are drawn apart, so each resample has as many of both as the data.
  const auto difference = [&](int64_t seed, const std::vector<Draws>& draws) {
    return first[seed].auroc(draws[0], draws[1]) - second[seed].auroc(draws[0], draws[1]);
  };
  return resample(positive_a.size(0), {positive_a.size(1), negative_a.size(1)}, difference,
                  options);
}

}  // namespace dissent::metrics
