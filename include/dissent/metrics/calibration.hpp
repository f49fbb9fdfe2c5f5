#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace dissent::metrics {

/// Values of each sample for metrics of labels, [N] each, of the logits' dtype and on their device.
struct CalibrationValues {
  at::Tensor nll;         ///< -log p_y, nats
  at::Tensor brier;       ///< sum_c (p_c - [c = y])^2, 0 .. 2
  at::Tensor confidence;  ///< largest p
};
/// From one softmax of logits [N, C] f32 or f64 for labels [N] i64 in 0 .. C - 1, which are not
/// checked. In the logits' dtype, as the references do it: in f32 a confidence within 6e-8 of 1
/// is 1, which conventions drop (TopBin). Classification and `dissent evaluate` both use it.
CalibrationValues calibration_values(const at::Tensor& logits, const at::Tensor& labels);

/// -log softmax(z_n)_{y_n} per sample, nats. logits [N, C] f32 or f64, labels [N] i64; returns [N].
at::Tensor negative_log_likelihood(const at::Tensor& logits, const at::Tensor& labels);

/// Brier score per sample: sum_c (p_nc - [c = y_n])^2, 0 .. 2, p the softmax. logits [N, C], labels
/// [N] i64; returns [N].
at::Tensor brier(const at::Tensor& logits, const at::Tensor& labels);

/// Mean of values over samples; 8 bytes per sample. The sum runs over the sorted values, so it has
/// the same bits for any order or split.
class SampleMean {
 public:
  /// values [N] f32 or f64; NaN and infinity pass through to the mean.
  void update(const at::Tensor& values);
  void merge(const SampleMean& other);
  /// Throws Error::kData without samples.
  double finish() const;
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
};

/// Where a confidence of exactly 1 goes; bins are [lo, hi) of width 1 / bins otherwise.
enum class TopBin {
  kClosed,   ///< into the last bin, [lo, 1]: the usual definition
  kOwn,      ///< into its own bin (torchmetrics)
  kDropped,  ///< into none, and weights are relative to what is binned (sdde; openood, which bins
             ///< the largest LOGIT)
};

/// Confidences and whether the prediction was correct; 16 bytes per sample, any order or split
/// gives the same bits.
class Calibration {
 public:
  /// confidence [N] f32 or f64; right [N] bool, same device. Values outside [0, 1] are in no bin.
  /// Throws Error::kData naming the count if one is NaN.
  void update(const at::Tensor& confidence, const at::Tensor& right);
  void merge(const Calibration& other);
  /// Expected calibration error: sum over bins of share * |accuracy - mean confidence|, 0 .. 1; 0
  /// if nothing is binned. bins >= 1.
  double expected_error(int64_t bins = 15, TopBin top = TopBin::kClosed) const;
  /// Largest |accuracy - mean confidence| over the filled bins.
  double largest_error(int64_t bins = 15, TopBin top = TopBin::kClosed) const;

 private:
  struct Bin;
  std::vector<Bin> fill(int64_t bins, TopBin top) const;
  std::vector<std::pair<double, bool>> samples_;
};

}  // namespace dissent::metrics
