#include <dissent/metrics/exact_sum.hpp>

#include "metrics/host_values.hpp"

#include <cmath>

namespace dissent::metrics {
namespace {
constexpr double kMostSum = 0x1p62;
}  // namespace

void ExactSum::add(double value) {
  // Values that are not finite are counted, and decide the result in finish().
  if (!std::isfinite(value)) {
    nan_ += std::isnan(value);
    positive_infinite_ += value > 0;
    negative_infinite_ += value < 0;
    return;
  }

  // The integer and the fraction in units of 2^-64; the fraction is cut towards 0.
  const double size = std::abs(value);
  DISSENT_CHECK(size < kMostSum, kData,
                "sum: expected a value below 2^62 in absolute value, found {}", value);
  const auto whole = static_cast<int64_t>(size);
  // size - whole is exact and below 1.
  const auto units = (static_cast<__int128>(whole) << 64) +
                     static_cast<uint64_t>((size - static_cast<double>(whole)) * 0x1p64);
  DISSENT_CHECK(!__builtin_add_overflow(sum_, value < 0 ? -units : units, &sum_), kData,
                "sum: expected a sum below 2^63 in absolute value, found a larger one");
}

void ExactSum::add(const at::Tensor& values) {
  DISSENT_CHECK(values.defined() &&
                    (values.scalar_type() == at::kFloat || values.scalar_type() == at::kDouble),
                kUsage, "sum: values: expected f32 or f64, found {}", describe(values));
  const auto host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto* value = host.const_data_ptr<double>();
  for (int64_t i = 0; i < host.numel(); ++i) add(value[i]);
}

void ExactSum::merge(const ExactSum& other) {
  DISSENT_CHECK(!__builtin_add_overflow(sum_, other.sum_, &sum_), kData,
                "sum: expected a sum below 2^63 in absolute value, found a larger one");
  nan_ += other.nan_;
  positive_infinite_ += other.positive_infinite_;
  negative_infinite_ += other.negative_infinite_;
}

double ExactSum::finish() const {
  // As in floating point: infinities of both signs give NaN.
  if (nan_ > 0 || (positive_infinite_ > 0 && negative_infinite_ > 0)) return std::nan("");
  if (positive_infinite_ > 0) return HUGE_VAL;
  if (negative_infinite_ > 0) return -HUGE_VAL;
  return static_cast<double>(sum_) * 0x1p-64;
}

void ExactSum::write(int64_t* words) const {
  // Four words for the sum, so that adding the words of ranks cannot overflow.
  write_integer(sum_, words);
  words[4] = nan_;
  words[5] = positive_infinite_;
  words[6] = negative_infinite_;
}

ExactSum ExactSum::read(const int64_t* words) {
  ExactSum sum;
  sum.sum_ = read_integer("sum", words);
  sum.nan_ = words[4];
  sum.positive_infinite_ = words[5];
  sum.negative_infinite_ = words[6];
  return sum;
}

void ExactMean::update(const at::Tensor& values) {
  check_values("mean", "values", values);
  sum_.add(values);
  count_ += values.numel();
}

void ExactMean::merge(const ExactMean& other) {
  sum_.merge(other.sum_);
  count_ += other.count_;
}

double ExactMean::finish() const {
  DISSENT_CHECK(count_ > 0, kData, "mean: expected at least one sample, found none");
  return sum_.finish() / static_cast<double>(count_);
}

at::Tensor ExactMean::state() const {
  auto words = at::empty({kWords}, at::kLong);
  sum_.write(words.data_ptr<int64_t>());
  words.data_ptr<int64_t>()[ExactSum::kWords] = count_;
  return words;
}

ExactMean ExactMean::from_state(const at::Tensor& state) {
  check_state("mean", state, {kWords});
  ExactMean mean;
  mean.sum_ = ExactSum::read(state.const_data_ptr<int64_t>());
  mean.count_ = state.const_data_ptr<int64_t>()[ExactSum::kWords];
  return mean;
}

}  // namespace dissent::metrics
