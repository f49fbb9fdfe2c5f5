#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Mean prediction over members and samples, [C], no gradient. logits [M, B, C] f32 or f64, M >= 1.
at::Tensor mean_prediction(const at::Tensor& logits);

/// Regulariser that keeps each member's mean prediction on the repulsion set close to the source
/// distribution:
///   r = mean over m of KL( t_m || s ) = mean over m of sum_c t_mc (log t_mc - log s_c),
///       t_m = mean over b of softmax(z_mb)
/// logits       [M, B, C]  f32 or f64, M >= 1, any device: outputs on the repulsion set
/// source_mean  [C], same dtype and device: mean_prediction of the outputs on the labelled set; no
///              gradient flows into it
/// returns      scalar, nats, >= 0; differentiable in logits. 0 log 0 = 0; s_c = 0 counts as the
///              smallest normal number, so the value is finite.
/// Throws Error::kUsage (shape, dtype, device).
/// Ref: DivDis' released code (subpopulation/train.py, reg_mode kl_backward); SED losses.py
/// get_regularizer; cases sed_losses.h5 total_*_reg*.
at::Tensor kl_backward(const at::Tensor& logits, const at::Tensor& source_mean);

}  // namespace dissent::losses
