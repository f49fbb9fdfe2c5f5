#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Outlier exposure (to be minimised): cross-entropy to the uniform distribution, on samples that
/// belong to no class of the training set.
///   l = mean over m and b of ( log sum_c exp z_mbc - mean over c of z_mbc )
/// logits   [M, B, C]  f32 or f64, M >= 1, any device: outputs on the batch of outliers (or
///          unlabelled samples)
/// returns  scalar, nats, >= log C; differentiable (twice), finite for finite logits
/// Memory: at most three M x B x C, forward and backward. Members are not coupled. A mean over
/// samples.
/// Throws Error::kUsage (shape, dtype).
/// Ref: Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019; sdde
/// openood/trainers/diversity/oe.py; cases sdde_losses.h5 oe.
at::Tensor oe(const at::Tensor& logits);

}  // namespace dissent::losses
