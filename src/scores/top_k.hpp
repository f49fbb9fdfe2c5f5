#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace dissent::scores {

/// The k largest values of each row, updated block by block: exact, 8 k bytes per row.
class TopK {
 public:
  /// k >= 1.
  TopK(int64_t rows, int64_t k, at::Device device);
  /// values [rows, n] f64.
  void update(const at::Tensor& values);
  /// [rows, k], unordered; -inf in place of missing values if a row had fewer than k.
  const at::Tensor& values() const { return best_; }

 private:
  at::Tensor best_;  // on the CPU one heap per row, the smallest value first
};

}  // namespace dissent::scores
