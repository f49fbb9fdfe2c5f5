#pragma once
#include <dissent/metrics/calibration.hpp>
#include <dissent/metrics/exact_sum.hpp>

#include <cstdint>
#include <vector>

namespace dissent::metrics {

/// One bin of a reliability diagram: [low, high) for equal width, (low, high] between given edges.
struct ReliabilityBin {
  double low = 0, high = 0;
  int64_t count = 0, right = 0;
  double confidence = 0;  ///< sum
  double accuracy() const {
    return count == 0 ? 0 : static_cast<double>(right) / static_cast<double>(count);
  }
  double mean_confidence() const {
    return count == 0 ? 0 : confidence / static_cast<double>(count);
  }
};

/// Reliability diagram and its calibration errors in constant memory (Calibration stores every
/// sample, for any number of bins). Any order, split and rank count gives the same
/// bits.
class Reliability {
 public:
  /// Equal width: [lo, hi) of width 1 / bins; top: bin of a confidence of 1 (kOwn: one more
  /// bin). bins >= 1.
  explicit Reliability(int64_t bins = 15, TopBin top = TopBin::kClosed);
  /// Bins (lo, hi] between inner edges in ascending order, the first and last unbounded:
  /// sklearn.calibration.calibration_curve.
  explicit Reliability(std::vector<double> inner_edges);

  /// confidence [N] f32 or f64; right [N] bool, same device. Values outside [0, 1] are in no bin.
  /// Throws Error::kData naming the count if one is NaN.
  void update(const at::Tensor& confidence, const at::Tensor& right);
  /// Error::kUsage for other bins.
  void merge(const Reliability& other);
  std::vector<ReliabilityBin> finish() const;
  /// Sum over bins of share * |accuracy - mean confidence|, 0 .. 1; 0 if nothing is binned.
  double expected_error() const;
  /// Largest |accuracy - mean confidence| over the filled bins; 0 if nothing is binned.
  double largest_error() const;

  /// [bins, 2 + ExactSum::kWords] i64 on the CPU: sums of these are merges. from_state: into this
  /// one, made for the same bins.
  at::Tensor state() const;
  void from_state(const at::Tensor& state);

 private:
  int64_t bin_of(double confidence) const;
  std::vector<double> edges_;  ///< of equal width: bins + 1 edges; else the inner ones
  bool equal_width_;
  TopBin top_ = TopBin::kClosed;
  std::vector<int64_t> count_, right_;
  std::vector<ExactSum> confidence_;
};

/// Inner edges of bins of equal mass: the quantiles i / bins of the confidences, between order
/// statistics by linear interpolation (numpy.percentile), so that equal confidences share a bin.
/// Two ascending positions (from 0) per edge, at which the confidence is needed: bins - 1 pairs.
/// count >= 1, bins >= 1.
std::vector<int64_t> quantile_positions(int64_t count, int64_t bins);
/// The edges from the confidences at these positions.
std::vector<double> quantile_edges(const std::vector<double>& at_positions, int64_t count,
                                   int64_t bins);

/// Calibration error over bins of equal mass (Nguyen & O'Connor 2015; the adaptive error of Nixon
/// et al. 2019). confidence [N] f32 or f64, right [N] bool.
double equal_mass_error(const at::Tensor& confidence, const at::Tensor& right, int64_t bins = 15);

/// Class-wise calibration error: the mean over classes of the error over equal-width bins of p_c
/// against [y = c]. Kull et al. 2019.
class ClasswiseReliability {
 public:
  explicit ClasswiseReliability(int64_t classes, int64_t bins = 15);
  /// probabilities [N, C] f32 or f64 in [0, 1] (Error::kData naming how many are not); labels [N]
  /// i64.
  void update(const at::Tensor& probabilities, const at::Tensor& labels);
  void merge(const ClasswiseReliability& other);
  /// Throws Error::kData without samples.
  double expected_error() const;
  /// [C * bins, 2 + ExactSum::kWords] i64 on the CPU: sums of these are merges.
  at::Tensor state() const;
  void from_state(const at::Tensor& state);

 private:
  int64_t classes_, bins_;
  std::vector<double> edges_;
  std::vector<int64_t> count_, right_;  ///< [C * bins]
  std::vector<ExactSum> confidence_;
};

}  // namespace dissent::metrics
