#include <dissent/scores/ensemble_output.hpp>

#include <cmath>

#include "core/tensor_check.hpp"

namespace dissent::scores {

at::Tensor mean_logits(const at::Tensor& logits) {
  check_outputs("mean_logits", "logits", logits, 1, 0);
  return logits.mean(0);
}

at::Tensor mean_probabilities(const at::Tensor& logits) {
  check_outputs("mean_probabilities", "logits", logits, 1, 0);
  return at::softmax(logits, -1).mean(0);
}

at::Tensor log_mean_probabilities(const at::Tensor& logits) {
  // log (1/M) sum_m p_m = logsumexp_m log p_m - log M, which does not underflow.
  check_outputs("log_mean_probabilities", "logits", logits, 1, 0);
  return at::log_softmax(logits, -1).logsumexp(0) - std::log(static_cast<double>(logits.size(0)));
}

at::Tensor product_of_experts(const at::Tensor& logits) {
  check_outputs("product_of_experts", "logits", logits, 1, 0);
  return at::log_softmax(logits, -1).sum(0);
}

at::Tensor normalized_weights(const at::Tensor& weights) {
  DISSENT_CHECK(weights.defined() && weights.dim() == 1 && weights.size(0) >= 1 &&
                    at::isFloatingType(weights.scalar_type()),
                kUsage, "normalized_weights: weights: expected [M >= 1] of f32 or f64, found {}",
                describe(weights));

  // A norm of 0 would make all logits NaN.
  const auto norm = weights.norm();
  DISSENT_CHECK(norm.item<double>() > 0, kUsage,
                "normalized_weights: weights: expected an L2 norm above 0, found {}",
                norm.item<double>());
  return weights / norm;
}

at::Tensor weighted_logits(const at::Tensor& logits, const at::Tensor& weights) {
  check_outputs("weighted_logits", "logits", logits, 1, 0);
  const bool fits = weights.defined() && weights.dim() == 1 && weights.size(0) == logits.size(0) &&
                    weights.scalar_type() == logits.scalar_type() &&
                    weights.device() == logits.device();
  DISSENT_CHECK(fits, kUsage, "weighted_logits: weights: expected [{}] {} {}, found {}",
                logits.size(0), c10::toString(logits.scalar_type()), logits.device().str(),
                describe(weights));

  // The weights have L2 norm 1 and the result is divided by M, as in the reference: the
  // weights do not sum to 1, which matters for scores that depend on the size of logits.
  return (normalized_weights(weights).view({-1, 1, 1}) * logits).mean(0);
}

at::Tensor uniform_soup(const at::Tensor& stacked) {
  DISSENT_CHECK(stacked.defined() && stacked.dim() >= 1 && stacked.size(0) >= 1 &&
                    at::isFloatingType(stacked.scalar_type()),
                kUsage, "uniform_soup: stacked: expected [M >= 1, ...] of f32 or f64, found {}",
                describe(stacked));
  return stacked.mean(0);
}

}  // namespace dissent::scores
