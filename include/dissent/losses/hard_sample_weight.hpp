#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Weight of each sample in the repulsion: large where the ensemble is wrong (the hardness in SED's
/// hardness-based diversification regulariser; `budget` in its code).
///   h_b = CE(mean over m of z_mb, y_b)
///       with the HARD label, regardless of the smoothing of the training loss
///   w_b = h_b / (mean over b of h_b)^2
/// logits   [M, B, C]  f32 or f64, M >= 1: the ACTIVE members; labels [B] i64, 0 .. C - 1, same
///          device
/// returns  [B], unit 1 / nats, no gradient. The weights average to 1 / mean(h), not to 1. Always
///          finite for finite logits: B = 1 gives 1 / h (the reference raises); all h exactly 0
///          (certain and right everywhere; the reference gives NaN) gives 1.
/// Throws Error::kUsage (shape, dtype, device, label out of range).
/// Ref: SED (Rubinstein et al., arXiv 2409.16797); diverse_universe/train/losses.py
/// budget_modifier; cases sed_losses.h5 budget_modifier.
at::Tensor hard_sample_weight(const at::Tensor& logits, const at::Tensor& labels);

/// hard_sample_weight in two steps, for a batch that is split over ranks: h [B], then the weights
/// from h and its mean over the whole batch (a scalar tensor).
at::Tensor ensemble_cross_entropy(const at::Tensor& logits, const at::Tensor& labels);
at::Tensor hard_sample_weight_from(const at::Tensor& cross_entropy, const at::Tensor& batch_mean);

}  // namespace dissent::losses
