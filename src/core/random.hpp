#pragma once
#include <ATen/core/PhiloxRNGEngine.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dissent {

/// Purpose of a random number. Every draw of the program is keyed by (seed, purpose, a, b), so
/// there is no generator state to store, and a run that is resumed or uses another grid draws the
/// same numbers. The values decide results: never renumber.
enum class Purpose : uint32_t {
  kWeights = 1,
  kOrder = 2,
  kActive = 3,
  kRepulsion = 4,
  kDropout = 5,
  kCrop = 6,
  kNoise = 7,
  kRoll = 8,
  kUnlabelledOrder = 9
};

/// Counter-based stream (ATen's Philox 4x32-10) for one key. The meaning of a and b depends on the
/// purpose: member, epoch, step.
class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint64_t a = 0, uint64_t b = 0);
  /// Uniform 32-bit integer.
  uint32_t next();
  /// Uniform integer in [0, bound), without modulo bias; bound >= 1.
  uint32_t below(uint32_t bound);
  /// Uniform double in [0, 1), 32 random bits.
  double uniform() { return next() * 0x1p-32; }
  /// Random order of 0..n-1 (Fisher and Yates).
  std::vector<int64_t> permutation(int64_t n);
  /// k distinct numbers out of 0..n-1, ascending.
  std::vector<int64_t> choose(int64_t n, int64_t k);

 private:
  at::Philox4_32 engine_;
};

/// Fills a contiguous CPU tensor of f32 or f64 with normal draws of the given deviation, truncated
/// at +-2 (absolute), as timm's trunc_normal_ does.
void fill_truncated_normal(at::Tensor values, double deviation, Random random);

/// Fills a contiguous CPU tensor of f32 or f64 with uniform draws in [low, high).
void fill_uniform(at::Tensor values, double low, double high, Random random);

}  // namespace dissent
