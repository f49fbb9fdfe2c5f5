#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace dissent::metrics {

/// Share of right predictions, as integer counts: the same bits for any split of the samples over
/// batches and ranks.
class Accuracy {
 public:
  /// predictions [N] i64, -1 is always wrong; labels [N] i64, or [N, K]: right if the prediction is
  /// any of the K (-1 pads). Same device.
  void update(const at::Tensor& predictions, const at::Tensor& labels);
  /// right [N] bool.
  void update(const at::Tensor& right);
  void merge(const Accuracy& other);
  /// right / total, 0 .. 1.
  /// Throws Error::kData if no sample was counted.
  double finish() const;

  int64_t right() const { return right_; }
  int64_t total() const { return total_; }
  /// [right, total] i64 on the CPU, and back: what ranks exchange (sums of these are merges).
  at::Tensor state() const;
  static Accuracy from_state(const at::Tensor& state);

 private:
  int64_t right_ = 0;
  int64_t total_ = 0;
};

/// Whether the label is among the k largest of the row (ties: at::topk's choice). logits [N, C],
/// labels [N] i64, 1 <= k; k > C counts as C.
/// Returns bool [N].
at::Tensor right_in_top_k(const at::Tensor& logits, const at::Tensor& labels, int64_t k);

}  // namespace dissent::metrics
