#include <dissent/metrics/conformal.hpp>

#include "core/random.hpp"
#include "metrics/host_values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace dissent::metrics {
namespace {

constexpr Purpose kConformalDraw{21};

at::Tensor checked_probabilities(const char* function, const at::Tensor& probabilities,
                                 const ConformalOptions& options) {
  DISSENT_CHECK(
      probabilities.defined() && probabilities.dim() == 2 && probabilities.size(1) >= 1 &&
          (probabilities.scalar_type() == at::kFloat || probabilities.scalar_type() == at::kDouble),
      kUsage, "{}: probabilities: expected [N, C >= 1] of f32 or f64, found {}", function,
      describe(probabilities));
  DISSENT_CHECK(options.level > 0 && options.level < 1, kUsage,
                "{}: level: expected above 0 and below 1, found {}", function, options.level);
  DISSENT_CHECK(options.penalty >= 0 && std::isfinite(options.penalty), kUsage,
                "{}: penalty: expected 0 or more, found {}", function, options.penalty);
  DISSENT_CHECK(options.free_ranks >= 0, kUsage, "{}: free_ranks: expected 0 or more, found {}",
                function, options.free_ranks);

  // NaN fails both comparisons, so it counts as outside.
  const auto outside =
      probabilities.ge(0).logical_and(probabilities.le(1)).logical_not().sum().item<int64_t>();
  DISSENT_CHECK(outside == 0, kData, "{}: expected probabilities in [0, 1], found {} of {} outside",
                function, outside, probabilities.numel());
  return probabilities.detach().to(at::kCPU, at::kDouble).contiguous();
}

// The scores of one sample's classes.
class RowScores {
 public:
  RowScores(int64_t classes, const ConformalOptions& options, ConformalPart part)
      : options_(options), part_(part), order_(classes), scores_(classes) {}

  const std::vector<double>& operator()(const double* p, int64_t row) {
    // Stable: of equal probabilities the lower class comes first.
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [p](int64_t a, int64_t b) { return p[a] > p[b]; });

    // One draw per sample, keyed by its row.
    const double u =
        options_.randomised
            ? Random(options_.seed, kConformalDraw, row, static_cast<uint64_t>(part_)).uniform()
            : 1;

    // before: mass of the classes with larger probabilities.
    double before = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      const auto beyond = static_cast<int64_t>(i) + 1 - options_.free_ranks;
      scores_[order_[i]] = before + u * p[order_[i]] +
                           options_.penalty * static_cast<double>(std::max<int64_t>(0, beyond));
      before += p[order_[i]];
    }
    return scores_;
  }
  int64_t first() const { return order_[0]; }

 private:
  const ConformalOptions& options_;
  ConformalPart part_;
  std::vector<int64_t> order_;
  std::vector<double> scores_;
};

}  // namespace

ConformalOptions raps_options(double level) {
  ConformalOptions options;
  options.level = level;
  options.penalty = 0.01;
  return options;
}

at::Tensor conformal_scores(const at::Tensor& probabilities, const at::Tensor& labels,
                            const ConformalOptions& options, int64_t first_row,
                            ConformalPart part) {
  const auto p = checked_probabilities("conformal_scores", probabilities, options);
  check_labels("conformal_scores", "labels", labels, p.size(0), p.size(1), probabilities.device());
  const auto y = labels.to(at::kCPU).contiguous();
  auto scores = at::empty({p.size(0)}, at::kDouble);

  // Rows are numbered over the whole set, so blocks do not change the random numbers.
  RowScores row(p.size(1), options, part);
  for (int64_t n = 0; n < p.size(0); ++n)
    scores.data_ptr<double>()[n] = row(p.const_data_ptr<double>() + n * p.size(1),
                                       first_row + n)[y.const_data_ptr<int64_t>()[n]];
  return scores;
}

int64_t conformal_position(int64_t n, double level) {
  // The ceil((n + 1) level)-th smallest score, as for split conformal prediction: with it the
  // coverage is at least `level`. Beyond n there is no such score.
  const auto count = static_cast<int64_t>(std::ceil(static_cast<double>(n + 1) * level));
  return count > n ? -1 : std::max<int64_t>(count, 1) - 1;
}

double conformal_quantile(const at::Tensor& scores, double level) {
  check_values("conformal_quantile", "scores", scores);
  check_no_nan("conformal_quantile", scores);
  std::vector<double> sorted;
  append_values(sorted, scores);
  DISSENT_CHECK(!sorted.empty(), kData,
                "conformal_quantile: expected at least one calibration sample, found none");

  // With few samples no score reaches the level, and every set has all classes.
  const auto position = conformal_position(static_cast<int64_t>(sorted.size()), level);
  if (position < 0) return std::numeric_limits<double>::infinity();
  std::nth_element(sorted.begin(), sorted.begin() + position, sorted.end());
  return sorted[position];
}

at::Tensor conformal_sets(const at::Tensor& probabilities, double quantile,
                          const ConformalOptions& options, int64_t first_row) {
  const auto p = checked_probabilities("conformal_sets", probabilities, options);
  DISSENT_CHECK(!std::isnan(quantile), kUsage,
                "conformal_sets: quantile: expected a number, found NaN");
  const int64_t classes = p.size(1);

  // The random numbers of test rows are others than those of calibration rows (ConformalPart).
  auto sets = at::empty({p.size(0), classes}, at::kBool);
  RowScores row(classes, options, ConformalPart::kTest);
  for (int64_t n = 0; n < p.size(0); ++n) {
    const auto& scores = row(p.const_data_ptr<double>() + n * classes, first_row + n);
    auto* set = sets.data_ptr<bool>() + n * classes;
    bool empty = true;
    for (int64_t c = 0; c < classes; ++c) {
      set[c] = scores[c] <= quantile;
      empty = empty && !set[c];
    }

    // If empty sets are not allowed, an empty one gets the most probable class.
    if (empty && !options.allow_empty) set[row.first()] = true;
  }
  return sets;
}

void ConformalCounts::update(const at::Tensor& sets, const at::Tensor& labels) {
  DISSENT_CHECK(sets.defined() && sets.dim() == 2 && sets.scalar_type() == at::kBool, kUsage,
                "conformal_counts: sets: expected [N, C] Bool, found {}", describe(sets));
  check_labels("conformal_counts", "labels", labels, sets.size(0), sets.size(1), sets.device());

  // Integers, so states of ranks are merged by a sum.
  const auto sizes = sets.sum(1);
  samples_ += sets.size(0);
  covered_ += sets.gather(1, labels.unsqueeze(1)).sum().item<int64_t>();
  classes_ += sizes.sum().item<int64_t>();
  empty_ += sizes.eq(0).sum().item<int64_t>();
}

double ConformalCounts::share_of(int64_t count) const {
  DISSENT_CHECK(samples_ > 0, kData, "conformal_counts: expected at least one sample, found none");
  return static_cast<double>(count) / static_cast<double>(samples_);
}

double ConformalCounts::coverage() const { return share_of(covered_); }
double ConformalCounts::mean_size() const { return share_of(classes_); }
double ConformalCounts::empty_share() const { return share_of(empty_); }

at::Tensor ConformalCounts::state() const {
  return at::tensor(std::vector<int64_t>{samples_, covered_, classes_, empty_}, at::kLong);
}

ConformalCounts ConformalCounts::from_state(const at::Tensor& state) {
  check_state("conformal_counts", state, {4});
  const auto* words = state.const_data_ptr<int64_t>();
  ConformalCounts counts;
  counts.samples_ = words[0];
  counts.covered_ = words[1];
  counts.classes_ = words[2];
  counts.empty_ = words[3];
  return counts;
}

}  // namespace dissent::metrics
