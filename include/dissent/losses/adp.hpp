#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Added inside the logarithm of the entropy.
inline constexpr double kAdpLogEps = 1e-20;

struct AdpOptions {
  double alpha = 2.0;  ///< weight of the negative entropy of the mean prediction, >= 0
  double beta = 0.5;   ///< weight of the negative log-determinant, >= 0
};

/// Adaptive diversity promoting regulariser (to be minimised): the mean prediction should have a
/// high entropy, and the members' probabilities of wrong classes should point in different
/// directions.
///   l = alpha * mean over b of sum_c q_bc log(q_bc + 1e-20)
///       + beta * mean over b of -log det(V_b V_b^T + 1e-5 I)
///   q = mean over m of p_m,  p = softmax(z)
///   V_b [M, C - 1]: row m is p_mb without its entry y_b, divided by (its norm + 1e-6)
/// logits   [M, B, C]  f32 or f64, M >= 1, any device
/// labels   [B]        i64, 0 .. C - 1, same device
/// returns  scalar, nats; differentiable. Finite with finite gradient for p exactly 1 (the row is
///          then 0, without a gradient) and for M > C - 1. The determinant is computed in f64 for
///          every dtype: if members agree, the smallest eigenvalue is 1e-5.
/// Memory: at most 20 M x B x C of f32 (12 of f64) and five B x M x M of f64, forward and backward.
/// Symmetric in the order of members. A mean over samples.
/// Throws Error::kUsage (shape, dtype, device, label or weight out of range).
/// Ref: Pang et al., Improving Adversarial Robustness via Promoting Ensemble Diversity, ICML 2019,
/// eq. 4 to 6; sdde openood/trainers/diversity/adp.py, common.py neglogdet_similarity; cases
/// sdde_losses.h5 adp.
at::Tensor adp(const at::Tensor& logits, const at::Tensor& labels, const AdpOptions& options = {});

}  // namespace dissent::losses
