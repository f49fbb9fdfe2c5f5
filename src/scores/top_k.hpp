#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::scores {

/// The k largest of the values that a row has been shown so far, block by block: exact, 8 k bytes a
/// row.
class TopK {
 public:
  TopK(int64_t rows, int64_t k, at::Device device);
  /// values [rows, n] f64.
  void update(const at::Tensor& values);
  /// [rows, k], in no order; -inf where fewer than k values were shown.
  const at::Tensor& values() const { return best_; }

 private:
  at::Tensor best_;  // on the CPU a heap a row, the smallest first
};

}  // namespace dissent::scores
