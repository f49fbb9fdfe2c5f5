#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Which output the cross-entropy of [loss.cross_entropy] is computed for.
enum class CrossEntropyOutput { kMembers, kProductOfExperts };

/// Options of the loss `cross_entropy`, mean over members and samples.
struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< 0 .. 1
  CrossEntropyOutput output = CrossEntropyOutput::kMembers;
};

/// Cross-entropy of each member and sample against smoothed targets t = (1 - smoothing) onehot(y) +
/// smoothing / C:
///   l_mb = -sum_c t_bc log softmax(z_mb)_c
/// logits     [M, B, C]  f32 or f64, M >= 1, any device
/// labels     [B]        i64, 0 .. C - 1, same device
/// smoothing  0 .. 1
/// returns    [M, B]  nats, >= 0; differentiable in logits (twice). Memory: one M x B x C (the
///            log-probabilities), one more in backward.
/// Throws Error::kUsage (shape, dtype, device, label or smoothing out of range).
/// Ref: SED diverse_universe/train/losses.py make_criterion (xce, smoothing_eps); cases
/// sed_losses.h5 sed_total.
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels,
                         double smoothing = 0.0);

/// Samples on which EVERY member gives the true class a probability above `threshold` (strictly).
/// Base losses are trained on these, diversity losses on the others.
///   mask_b = min over m of softmax(z_mb)_{y_b} > threshold
/// Shapes as above; threshold 0 .. 1. Returns bool [B] on the device of logits, no gradient.
/// Ref: SED DivDisLossWrapper.forward (disagree_below_threshold).
at::Tensor above_threshold(const at::Tensor& logits, const at::Tensor& labels, double threshold);

}  // namespace dissent::losses
