#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Inputs moved by one step of the fast gradient sign method: x + epsilon * sign(d loss / d x). The
/// step has no derivative, so the result is a constant; the graph of `loss` is kept for its own
/// backward pass.
/// loss      scalar, f32 or f64, computed from `inputs` (the base loss of this step, mean over
///           members, whatever it is)
/// inputs    [M, B, ...], requires_grad: each member's own batch
/// epsilon   >= 0, in the unit of the inputs after normalisation
/// returns   the shape of inputs, no gradient. Memory: the backward pass of `loss` down to the
///           inputs, and two tensors of their size.
/// scale     > 0: what is differentiated is scale * loss. The sign does not change, and through f16
///           layers (autocast) small derivatives do not become 0. An element whose derivative is
///           NaN stays where it is, one that is infinite moves
/// overflow  where it is asked for: a scalar of the inputs' dtype, 0 if all derivatives are finite,
///           else NaN
/// Throws Error::kUsage (loss no scalar, or independent of the inputs; inputs without
/// requires_grad; epsilon or scale out of range).
/// Training on them: forward pass once more, then cross_entropy with the members' labels. It is
/// always the plain cross-entropy, also where the base loss is logit_norm.
/// Ref: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015;
/// Lakshminarayanan et al., Deep Ensembles, NeurIPS 2017;
///      sdde openood/trainers/deed_trainer.py DEEDTrainer._adversarial_loss; cases sdde_losses.h5
///          total_inpgrad_adversarial.
at::Tensor adversarial_inputs(const at::Tensor& loss, const at::Tensor& inputs, double epsilon,
                              double scale = 1, at::Tensor* overflow = nullptr);

}  // namespace dissent::losses
