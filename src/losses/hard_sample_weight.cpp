#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/hard_sample_weight.hpp>

#include "core/tensor_check.hpp"

namespace dissent::losses {

at::Tensor ensemble_cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  check_outputs("hard_sample_weight", "logits", logits, 1);
  check_labels("hard_sample_weight", "labels", labels, logits.size(1), logits.size(2),
               logits.device());

  // A weight is a constant: no derivative is taken through it.
  const at::NoGradGuard no_grad;
  return cross_entropy(logits.mean(0, true), labels).squeeze(0);
}

at::Tensor hard_sample_weight_from(const at::Tensor& cross_entropy, const at::Tensor& batch_mean) {
  const at::NoGradGuard no_grad;
  // Divided twice, because the square of a small mean would underflow to 0 in f32.
  const auto weight = cross_entropy / batch_mean / batch_mean;
  return at::where(batch_mean.eq(0), at::ones_like(weight), weight);
}

at::Tensor hard_sample_weight(const at::Tensor& logits, const at::Tensor& labels) {
  const auto hardness = ensemble_cross_entropy(logits, labels);
  return hard_sample_weight_from(hardness, hardness.mean());
}

}  // namespace dissent::losses
