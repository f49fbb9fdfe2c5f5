#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::scores {

// One output of the ensemble from those of its members. logits [M >= 1, B, C] f32 or f64, any
// device; returns [B, C]; differentiable.
// Throw Error::kUsage for shape or dtype.
// Ref: SED cross_eval/eval.py and local_models/ensemble.py; cases sed_scores.h5 ensemble_output,
// product_of_experts.

/// Mean of the logits: the ensemble of the evaluation.
at::Tensor mean_logits(const at::Tensor& logits);

/// Mean of the softmax of each member (average_after_softmax).
at::Tensor mean_probabilities(const at::Tensor& logits);

/// Log of mean_probabilities: what SDDE's evaluation uses as the logits of the ensemble when it
/// does not average logits (aggregate_logits False).
at::Tensor log_mean_probabilities(const at::Tensor& logits);

/// Sum over members of log softmax, not normalised.
at::Tensor product_of_experts(const at::Tensor& logits);

/// weights [M] divided by their L2 norm (Error::kUsage if it is 0).
at::Tensor normalized_weights(const at::Tensor& weights);

/// sum over m of w_m z_m / M with w = normalized_weights(weights): divided by M, not by the sum of
/// the weights. weights [M], dtype and device of logits.
at::Tensor weighted_logits(const at::Tensor& logits, const at::Tensor& weights);

/// Uniform soup of one parameter: mean over the first dimension of stacked [M >= 1, ...].
at::Tensor uniform_soup(const at::Tensor& stacked);

}  // namespace dissent::scores
