#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dissent::metrics {

/// A sum of numbers with the same bits for any order, batch size and rank count: each number is cut
/// to a multiple of 2^-64 and added as a 128-bit integer, so that an addition rounds nothing. NaN
/// and infinities are counted separately; the result is then that of IEEE addition.
class ExactSum {
 public:
  /// 64-bit words of the state.
  static constexpr int64_t kWords = 7;

  /// Throws Error::kData for a value of 2^62 or more in absolute value, and if the sum reaches
  /// 2^63.
  void add(double value);
  /// f32 or f64 of any shape and device, or Error::kUsage.
  void add(const at::Tensor& values);
  void merge(const ExactSum& other);
  /// The sum, rounded once.
  double finish() const;

  /// State as integers whose element-wise sum over ranks is the state of the merged sum (up to 2^31
  /// ranks), and back.
  void write(int64_t* words) const;
  static ExactSum read(const int64_t* words);

 private:
  __int128 sum_ = 0;  ///< in units of 2^-64
  int64_t nan_ = 0, positive_infinite_ = 0, negative_infinite_ = 0;
};

/// Mean of values over samples. The state is constant in size; any order and split gives the same
/// bits.
class ExactMean {
 public:
  static constexpr int64_t kWords = ExactSum::kWords + 1;
  /// values [N] f32 or f64; NaN and infinity pass through to the mean.
  void update(const at::Tensor& values);
  void merge(const ExactMean& other);
  /// Throws Error::kData without samples.
  double finish() const;
  int64_t count() const { return count_; }
  /// [kWords] i64 on the CPU, and back: sums of these are merges.
  at::Tensor state() const;
  static ExactMean from_state(const at::Tensor& state);

 private:
  ExactSum sum_;
  int64_t count_ = 0;
};

}  // namespace dissent::metrics
