#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Negative correlation learning (to be minimised): the members' deviations from their mean should
/// cancel in each sample.
///   l = mean over b and ordered pairs i != j of  <d_ib, d_jb>,
///       d_ib = p_ib - stop_gradient(mean over m of p_mb),   p = softmax(z)
/// The gradient with respect to p_ib is -2 d_ib / (M (M - 1) B). Treating the mean as a constant
/// does not change it: the deviations sum to 0, so l = -1 / (M (M - 1)) mean over b of sum_i
/// |d_ib|^2 has the same derivative.
/// logits   [M, B, C]  f32 or f64, M >= 2, any device
/// returns  scalar, -1 / M (members certain of different classes) .. 0 (up to rounding); finite for
///          finite logits
/// Memory: at most five M x B x C and one B x C, forward and backward; linear in M. Symmetric in
/// the order of members. A mean over samples.
/// Throws Error::kUsage (one member, shape, dtype; the reference gives NaN for one member).
/// Ref: Liu and Yao, Ensemble learning via negative correlation, Neural Networks 1999; sdde
/// openood/trainers/diversity/ncl.py; cases sdde_losses.h5 ncl.
at::Tensor ncl(const at::Tensor& logits);

}  // namespace dissent::losses
