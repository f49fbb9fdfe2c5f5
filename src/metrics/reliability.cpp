#include <dissent/metrics/reliability.hpp>

#include "metrics/host_values.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dissent::metrics {
namespace {

constexpr int64_t kBinWords = 2 + ExactSum::kWords;

std::vector<double> equal_edges(int64_t bins) {
  DISSENT_CHECK(bins >= 1, kUsage, "reliability: bins: expected 1 or more, found {}", bins);
  std::vector<double> edges(bins + 1);
  for (int64_t i = 0; i <= bins; ++i) edges[i] = static_cast<double>(i) / static_cast<double>(bins);
  return edges;
}

at::Tensor bin_state(const std::vector<int64_t>& count, const std::vector<int64_t>& right,
                     const std::vector<ExactSum>& confidence) {
  auto state = at::empty({static_cast<int64_t>(count.size()), kBinWords}, at::kLong);
  auto* words = state.data_ptr<int64_t>();
  for (size_t b = 0; b < count.size(); ++b, words += kBinWords) {
    words[0] = count[b];
    words[1] = right[b];
    confidence[b].write(words + 2);
  }
  return state;
}

void read_bins(const char* name, const at::Tensor& state, std::vector<int64_t>& count,
               std::vector<int64_t>& right, std::vector<ExactSum>& confidence) {
  check_state(name, state, {static_cast<int64_t>(count.size()), kBinWords});
  const auto* words = state.const_data_ptr<int64_t>();
  for (size_t b = 0; b < count.size(); ++b, words += kBinWords) {
    count[b] = words[0];
    right[b] = words[1];
    confidence[b] = ExactSum::read(words + 2);
  }
}

// Of p in [0, 1]: the bin [lo, hi), and the last for 1.
int64_t equal_bin(const std::vector<double>& edges, double p) {
  const auto bins = static_cast<int64_t>(edges.size()) - 1;

  // The product may round to a neighbouring bin, so the edges decide.
  auto bin = std::min(bins - 1, static_cast<int64_t>(p * static_cast<double>(bins)));
  while (p < edges[bin]) --bin;
  while (bin + 1 < bins && p >= edges[bin + 1]) ++bin;
  return bin;
}

}  // namespace

Reliability::Reliability(int64_t bins, TopBin top)
    : edges_(equal_edges(bins)), equal_width_(true), top_(top) {
  const auto total_bins = static_cast<size_t>(bins + (top == TopBin::kOwn));
  count_.resize(total_bins);
  right_.resize(total_bins);
  confidence_.resize(total_bins);
}

Reliability::Reliability(std::vector<double> inner_edges)
    : edges_(std::move(inner_edges)), equal_width_(false) {
  DISSENT_CHECK(std::is_sorted(edges_.begin(), edges_.end()), kUsage,
                "reliability: inner_edges: expected ascending edges");

  // The first and the last bin have one edge only.
  const auto total_bins = edges_.size() + 1;
  count_.resize(total_bins);
  right_.resize(total_bins);
  confidence_.resize(total_bins);
}

int64_t Reliability::bin_of(double confidence) const {
  if (confidence < 0 || confidence > 1) return -1;

  // Edges of quantiles close their bins at the upper end, those of equal width at the lower end.
  if (!equal_width_)
    return std::lower_bound(edges_.begin(), edges_.end(), confidence) - edges_.begin();
  if (confidence == 1 && top_ != TopBin::kClosed)
    return top_ == TopBin::kOwn ? static_cast<int64_t>(edges_.size()) - 1 : -1;
  return equal_bin(edges_, confidence);
}

void Reliability::update(const at::Tensor& confidence, const at::Tensor& right) {
  check_values("reliability", "confidence", confidence);
  check_beside("reliability", "right", right, confidence, at::kBool);
  check_no_nan("reliability", confidence);

  const auto values = confidence.detach().to(at::kCPU, at::kDouble).contiguous(),
             flags = right.to(at::kCPU).contiguous();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double value = values.const_data_ptr<double>()[i];
    const auto bin = bin_of(value);

    // Conventions may leave out a confidence of 1.
    if (bin < 0) continue;
    ++count_[bin];
    right_[bin] += flags.const_data_ptr<bool>()[i];
    confidence_[bin].add(value);
  }
}

void Reliability::merge(const Reliability& other) {
  DISSENT_CHECK(edges_ == other.edges_ && equal_width_ == other.equal_width_ && top_ == other.top_,
                kUsage, "reliability: merge: expected the same bins");
  for (size_t b = 0; b < count_.size(); ++b) {
    count_[b] += other.count_[b];
    right_[b] += other.right_[b];
    confidence_[b].merge(other.confidence_[b]);
  }
}

std::vector<ReliabilityBin> Reliability::finish() const {
  std::vector<ReliabilityBin> bins;
  for (size_t b = 0; b < count_.size(); ++b) {
    // TopBin::kOwn: the bin behind the last edge is that of a confidence of 1.
    const bool own = equal_width_ && b + 1 == edges_.size();
    const double low = own ? 1 : equal_width_ ? edges_[b] : b == 0 ? 0 : edges_[b - 1];
    const double high = own ? 1 : equal_width_ ? edges_[b + 1] : b < edges_.size() ? edges_[b] : 1;
    bins.push_back({low, high, count_[b], right_[b], confidence_[b].finish()});
  }
  return bins;
}

double Reliability::expected_error() const {
  // n |accuracy - mean confidence| of a bin is |right - sum of confidences|.
  int64_t count = 0;
  double sum = 0;
  for (const auto& bin : finish()) {
    count += bin.count;
    sum += std::abs(static_cast<double>(bin.right) - bin.confidence);
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

double Reliability::largest_error() const {
  double largest = 0;
  for (const auto& bin : finish())
    if (bin.count > 0)
      largest = std::max(largest, std::abs(static_cast<double>(bin.right) - bin.confidence) /
                                      static_cast<double>(bin.count));
  return largest;
}

at::Tensor Reliability::state() const { return bin_state(count_, right_, confidence_); }

void Reliability::from_state(const at::Tensor& state) {
  read_bins("reliability", state, count_, right_, confidence_);
}

std::vector<int64_t> quantile_positions(int64_t count, int64_t bins) {
  DISSENT_CHECK(count >= 1, kData, "equal_mass_error: expected at least one sample, found none");
  DISSENT_CHECK(bins >= 1, kUsage, "equal_mass_error: bins: expected 1 or more, found {}", bins);
  std::vector<int64_t> positions;
  for (int64_t i = 1; i < bins; ++i) {
    // numpy.quantile interpolates at position q (n - 1) with q = i / bins: the order statistics
    // below and above it.
    const int64_t below = i * (count - 1) / bins;
    positions.push_back(below);
    positions.push_back(std::min(below + 1, count - 1));
  }
  return positions;
}

std::vector<double> quantile_edges(const std::vector<double>& at_positions, int64_t count,
                                   int64_t bins) {
  DISSENT_CHECK(static_cast<int64_t>(at_positions.size()) == 2 * (bins - 1), kUsage,
                "equal_mass_error: expected {} order statistics, found {}", 2 * (bins - 1),
                at_positions.size());
  std::vector<double> edges;
  for (int64_t i = 1; i < bins; ++i) {
    const double low = at_positions[2 * (i - 1)], high = at_positions[2 * (i - 1) + 1];
    const double t = static_cast<double>(i * (count - 1) % bins) / static_cast<double>(bins);
    edges.push_back(t < 0.5 ? low + (high - low) * t
                            : high - (high - low) * (1 - t));  // as numpy rounds
  }
  return edges;
}

double equal_mass_error(const at::Tensor& confidence, const at::Tensor& right, int64_t bins) {
  check_values("equal_mass_error", "confidence", confidence);
  check_no_nan("equal_mass_error", confidence);
  std::vector<double> sorted, chosen;
  append_values(sorted, confidence);
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<int64_t>(sorted.size());

  // The edges are quantiles of the confidences.
  for (const int64_t position : quantile_positions(count, bins)) chosen.push_back(sorted[position]);
  Reliability state(quantile_edges(chosen, count, bins));
  state.update(confidence, right);
  return state.expected_error();
}

ClasswiseReliability::ClasswiseReliability(int64_t classes, int64_t bins)
    : classes_(classes), bins_(bins), edges_(equal_edges(bins)) {
  DISSENT_CHECK(classes >= 1, kUsage,
                "classwise_reliability: classes: expected 1 or more, found {}", classes);
  const auto total_bins = static_cast<size_t>(classes * bins);
  count_.resize(total_bins);
  right_.resize(total_bins);
  confidence_.resize(total_bins);
}

void ClasswiseReliability::update(const at::Tensor& probabilities, const at::Tensor& labels) {
  DISSENT_CHECK(
      probabilities.defined() && probabilities.dim() == 2 && probabilities.size(1) == classes_ &&
          (probabilities.scalar_type() == at::kFloat || probabilities.scalar_type() == at::kDouble),
      kUsage, "classwise_reliability: probabilities: expected [N, {}] of f32 or f64, found {}",
      classes_, describe(probabilities));
  check_labels("classwise_reliability", "labels", labels, probabilities.size(0), classes_,
               probabilities.device());

  // NaN fails both comparisons, so it counts as outside.
  const auto outside =
      probabilities.ge(0).logical_and(probabilities.le(1)).logical_not().sum().item<int64_t>();
  DISSENT_CHECK(outside == 0, kData,
                "classwise_reliability: expected probabilities in [0, 1], found {} of {} outside",
                outside, probabilities.numel());

  // Every class has its own bins: class c is "correct" for the samples with this label.
  const auto values = probabilities.detach().to(at::kCPU, at::kDouble).contiguous(),
             right = labels.to(at::kCPU).contiguous();
  const auto* value = values.const_data_ptr<double>();
  for (int64_t n = 0; n < values.size(0); ++n)
    for (int64_t c = 0; c < classes_; ++c, ++value) {
      const auto bin = c * bins_ + equal_bin(edges_, *value);
      ++count_[bin];
      right_[bin] += right.const_data_ptr<int64_t>()[n] == c;
      confidence_[bin].add(*value);
    }
}

void ClasswiseReliability::merge(const ClasswiseReliability& other) {
  DISSENT_CHECK(classes_ == other.classes_ && bins_ == other.bins_, kUsage,
                "classwise_reliability: merge: expected the same classes and bins");
  for (size_t b = 0; b < count_.size(); ++b) {
    count_[b] += other.count_[b];
    right_[b] += other.right_[b];
    confidence_[b].merge(other.confidence_[b]);
  }
}

double ClasswiseReliability::expected_error() const {
  // Mean over classes of sum_bins |right - sum of p_c| / N.
  int64_t counted = 0;
  double sum = 0;
  for (size_t b = 0; b < count_.size(); ++b) {
    counted += count_[b];
    sum += std::abs(static_cast<double>(right_[b]) - confidence_[b].finish());
  }
  DISSENT_CHECK(counted > 0, kData,
                "classwise_reliability: expected at least one sample, found none");
  return sum / static_cast<double>(counted);  // samples x classes
}

at::Tensor ClasswiseReliability::state() const { return bin_state(count_, right_, confidence_); }

void ClasswiseReliability::from_state(const at::Tensor& state) {
  read_bins("classwise_reliability", state, count_, right_, confidence_);
}

}  // namespace dissent::metrics
