#include <dissent/metrics/accuracy.hpp>

#include <algorithm>
#include <cstdint>

#include "core/tensor_check.hpp"

namespace dissent::metrics {

void Accuracy::update(const at::Tensor& predictions, const at::Tensor& labels) {
  DISSENT_CHECK(
      predictions.defined() && predictions.dim() == 1 && predictions.scalar_type() == at::kLong,
      kUsage, "accuracy: predictions: expected [N] Long, found {}", describe(predictions));
  const bool fits = labels.defined() && (labels.dim() == 1 || labels.dim() == 2) &&
                    labels.size(0) == predictions.size(0) && labels.scalar_type() == at::kLong &&
                    labels.device() == predictions.device();
  DISSENT_CHECK(fits, kUsage, "accuracy: labels: expected [{0}] or [{0}, K] Long {1}, found {2}",
                predictions.size(0), predictions.device().str(), describe(labels));

  // With several labels a prediction is correct if it is any of them; -1 is never correct.
  const auto equal =
      labels.dim() == 1 ? labels.eq(predictions) : labels.eq(predictions.unsqueeze(1)).any(1);
  update(equal.logical_and(predictions.ge(0)));
}

void Accuracy::update(const at::Tensor& right) {
  DISSENT_CHECK(right.defined() && right.dim() == 1 && right.scalar_type() == at::kBool, kUsage,
                "accuracy: right: expected [N] Bool, found {}", describe(right));

  // Integers, so the order of updates and merges does not matter.
  right_ += right.sum().item<int64_t>();
  total_ += right.size(0);
}

void Accuracy::merge(const Accuracy& other) {
  right_ += other.right_;
  total_ += other.total_;
}

double Accuracy::finish() const {
  DISSENT_CHECK(total_ > 0, kData, "accuracy: expected at least one sample, found none");
  return static_cast<double>(right_) / static_cast<double>(total_);
}

at::Tensor Accuracy::state() const { return at::tensor({right_, total_}, at::kLong); }

Accuracy Accuracy::from_state(const at::Tensor& state) {
  DISSENT_CHECK(
      state.defined() && state.dim() == 1 && state.size(0) == 2 && state.scalar_type() == at::kLong,
      kUsage, "accuracy: state: expected [2] Long, found {}", describe(state));
  Accuracy accuracy;
  accuracy.right_ = state[0].item<int64_t>();
  accuracy.total_ = state[1].item<int64_t>();
  return accuracy;
}

at::Tensor right_in_top_k(const at::Tensor& logits, const at::Tensor& labels, int64_t k) {
  DISSENT_CHECK(logits.defined() && logits.dim() == 2 && at::isFloatingType(logits.scalar_type()),
                kUsage, "right_in_top_k: logits: expected [N, C] of f32 or f64, found {}",
                describe(logits));
  DISSENT_CHECK(k >= 1, kUsage, "right_in_top_k: k: expected 1 or more, found {}", k);
  check_labels("right_in_top_k", "labels", labels, logits.size(0), logits.size(1), logits.device(),
               -1);

  // With fewer than k classes every labelled prediction is correct.
  const auto top = std::get<1>(logits.topk(std::min(k, logits.size(1)), -1));
  return top.eq(labels.unsqueeze(1)).any(1);
}

}  // namespace dissent::metrics
