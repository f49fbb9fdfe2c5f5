#include <dissent/metrics/calibration.hpp>

#include "metrics/host_values.hpp"

#include <algorithm>
#include <cmath>

namespace dissent::metrics {
namespace {

void check_logits(const char* function, const at::Tensor& logits, const at::Tensor& labels) {
  DISSENT_CHECK(logits.defined() && logits.dim() == 2 &&
                    (logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kDouble),
                kUsage, "{}: logits: expected [N, C] of f32 or f64, found {}", function,
                describe(logits));
  check_labels(function, "labels", labels, logits.size(0), logits.size(1), logits.device());
}

}  // namespace

CalibrationValues calibration_values(const at::Tensor& logits, const at::Tensor& labels) {
  const auto log_p = at::log_softmax(logits, -1);
  const auto place = labels.unsqueeze(1);
  auto p = log_p.exp();
  const auto confidence = p.amax(-1);

  // p - [c = y] in place: each square is of a difference, so none of the sums is below 0.
  p.scatter_add_(1, place, at::full_like(place, -1, p.options()));
  return {log_p.gather(1, place).squeeze(1).neg(), p.square_().sum(-1), confidence};
}

at::Tensor negative_log_likelihood(const at::Tensor& logits, const at::Tensor& labels) {
  check_logits("negative_log_likelihood", logits, labels);
  return calibration_values(logits, labels).nll;
}

at::Tensor brier(const at::Tensor& logits, const at::Tensor& labels) {
  check_logits("brier", logits, labels);
  return calibration_values(logits, labels).brier;
}

void SampleMean::update(const at::Tensor& values) {
  check_values("mean", "values", values);
  append_values(values_, values);
}

void SampleMean::merge(const SampleMean& other) {
  values_.insert(values_.end(), other.values_.begin(), other.values_.end());
}

double SampleMean::finish() const {
  DISSENT_CHECK(!values_.empty(), kData, "mean: expected at least one sample, found none");
  auto sorted = values_;
  // NaN has no place in an order, so it is looked for first.
  for (const double value : sorted)
    if (std::isnan(value)) return value;
  std::sort(sorted.begin(), sorted.end());

  // Summed in ascending order, so the bits do not depend on the order of updates.
  double sum = 0;
  for (const double value : sorted) sum += value;
  return sum / static_cast<double>(sorted.size());
}

struct Calibration::Bin {
  uint64_t count = 0;
  uint64_t right = 0;
  double confidence = 0;  ///< sum
  double gap() const {
    return count == 0
               ? 0
               : std::abs(static_cast<double>(right) - confidence) / static_cast<double>(count);
  }
};

void Calibration::update(const at::Tensor& confidence, const at::Tensor& right) {
  check_values("calibration", "confidence", confidence);
  check_beside("calibration", "right", right, confidence, at::kBool);
  check_no_nan("calibration", confidence);

  const auto values = confidence.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto flags = right.to(at::kCPU).contiguous();

  // Every sample is kept, as the number of bins is given only when it is finished.
  for (int64_t i = 0; i < values.numel(); ++i)
    samples_.emplace_back(values.data_ptr<double>()[i], flags.data_ptr<bool>()[i]);
}

void Calibration::merge(const Calibration& other) {
  samples_.insert(samples_.end(), other.samples_.begin(), other.samples_.end());
}

std::vector<Calibration::Bin> Calibration::fill(int64_t bins, TopBin top) const {
  DISSENT_CHECK(bins >= 1, kUsage, "calibration: bins: expected 1 or more, found {}", bins);
  std::vector<double> edges(bins + 1);
  for (int64_t i = 0; i <= bins; ++i) edges[i] = static_cast<double>(i) / static_cast<double>(bins);

  // Sums run over the sorted samples, so the bits do not depend on their order. The last bin is for
  // a confidence of 1.
  std::vector<Bin> filled(bins + 1);
  auto sorted = samples_;
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [confidence, right] : sorted) {
    if (confidence < 0 || confidence > 1) continue;
    int64_t bin = std::upper_bound(edges.begin(), edges.end(), confidence) - edges.begin() - 1;
    if (bin == bins && top == TopBin::kDropped) continue;
    if (bin == bins && top == TopBin::kClosed) bin = bins - 1;
    ++filled[bin].count;
    filled[bin].right += right;
    filled[bin].confidence += confidence;
  }
  return filled;
}

double Calibration::expected_error(int64_t bins, TopBin top) const {
  const auto filled = fill(bins, top);

  // Sum over bins of (samples in it / all samples) |accuracy - mean confidence|.
  uint64_t count = 0;
  double sum = 0;
  for (const auto& bin : filled) {
    count += bin.count;
    sum += bin.gap() * static_cast<double>(bin.count);
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

double Calibration::largest_error(int64_t bins, TopBin top) const {
  double largest = 0;
  for (const auto& bin : fill(bins, top)) largest = std::max(largest, bin.gap());
  return largest;
}

}  // namespace dissent::metrics
