#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace dissent {

/// What data.rows and data.classes default to for synthetic: the rows of MNIST and the classes of
/// ImageNet.
inline constexpr int64_t kSyntheticRows = 60000, kSyntheticClasses = 1000;

struct SyntheticOptions {
  uint64_t seed = 42;
  int64_t rows = 0;     ///< per pass
  int64_t dim = 0;      ///< D
  int64_t classes = 0;  ///< C
  bool test = false;    ///< the test split: other rows of the same classes
};

/// Generated features of any size: x = mean[label] + z, z ~ N(0, 1) in each feature, labels uniform
/// over the classes. The means of two classes are about 4 apart, so the classes overlap and heads
/// learn well, but not perfectly. Each row depends on (seed, split, pass, row) alone, so any rank
/// can generate any part. z takes one of 65,536 levels (the quantiles of the normal distribution,
/// at most 4.3), chosen by half of a 32-bit counter-based draw.
class SyntheticSet {
 public:
  /// Computes the means of the classes, [C, D]. Error::kUsage unless all sizes are at least 1.
  explicit SyntheticSet(const SyntheticOptions& options);
  /// Rows [first, first + count) of a pass: [count, D] f32, computed on the threads of this
  /// process. Passes differ like augmented copies: other features, same labels.
  at::Tensor features(int64_t pass, int64_t first, int64_t count) const;
  at::Tensor labels(int64_t first, int64_t count) const;  ///< [count] i64

 private:
  SyntheticOptions options_;
  at::Tensor quantiles_;  ///< [65536] f32
  at::Tensor means_;      ///< [C, D] f32
};

}  // namespace dissent
