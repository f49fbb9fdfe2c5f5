#include <dissent/losses/cross_entropy.hpp>

#include "core/tensor_check.hpp"

namespace dissent::losses {

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double smoothing) {
  check_outputs("cross_entropy", "logits", logits, 1);
  check_labels("cross_entropy", "labels", labels, logits.size(1), logits.size(2), logits.device());
  check_range("cross_entropy", "smoothing", smoothing, 0, 1);
  const auto log_p = at::log_softmax(logits, -1);
  const auto index = labels.unsqueeze(0).expand({logits.size(0), -1}).unsqueeze(-1);
  const auto of_label = log_p.gather(-1, index).squeeze(-1).neg();
  if (smoothing == 0) return of_label;
  return of_label * (1 - smoothing) - log_p.mean(-1) * smoothing;
}

at::Tensor above_threshold(const at::Tensor& logits, const at::Tensor& labels, double threshold) {
  check_outputs("above_threshold", "logits", logits, 1);
  check_labels("above_threshold", "labels", labels, logits.size(1), logits.size(2),
               logits.device());
  check_range("above_threshold", "threshold", threshold, 0, 1);
  const at::NoGradGuard no_grad;
  const auto index = labels.unsqueeze(0).expand({logits.size(0), -1}).unsqueeze(-1);
  return at::softmax(logits, -1).gather(-1, index).squeeze(-1).gt(threshold).all(0);
}

}  // namespace dissent::losses
