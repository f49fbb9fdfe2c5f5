#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Added to the norm before division.
inline constexpr double kLogitNormEps = 1e-7;

struct LogitNormOptions {
  double tau = 0.04;  ///< temperature, > 0; SDDE's trainer always uses 0.04
};

/// Cross-entropy of normalised logits, for each member and sample (to be minimised): larger logits
/// do not reduce the loss.
///   l_mb = -log softmax( z_mb / (|z_mb| + 1e-7) / tau )_{y_b}
/// logits   [M, B, C]  f32 or f64, M >= 1, any device
/// labels   [B]        i64, 0 .. C - 1, same device
/// returns  [M, B]  nats, >= 0; differentiable. The derivative of |z| at 0 is 0, so zero logits
///          have finite value and gradient.
/// Memory: at most seven M x B x C, forward and backward.
/// Throws Error::kUsage (shape, dtype, device, label or tau out of range).
/// Ref: Wei et al., Mitigating Neural Network Overconfidence with Logit Normalization, ICML 2022,
/// eq. 5; sdde openood/trainers/logitnorm_trainer.py LogitNormLoss; cases sdde_losses.h5 logitnorm.
at::Tensor logit_norm(const at::Tensor& logits, const at::Tensor& labels,
                      const LogitNormOptions& options = {});

}  // namespace dissent::losses
