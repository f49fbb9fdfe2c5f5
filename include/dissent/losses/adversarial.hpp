#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

/// Options of the loss `adversarial_cross_entropy`.
struct AdversarialOptions {
  double epsilon = 0.01;  ///< >= 0; read by adversarial_inputs(..), before the second forward pass
};

/// Inputs moved by one step of the fast gradient sign method: x + epsilon * sign(d loss / d x). The
/// step has no derivative, so the result is a constant; the graph of `loss` is kept for its own
/// backward pass.
/// loss      scalar, f32 or f64, computed from `inputs` (any base loss of this step, mean over
///           members)
/// inputs    [M, B, ...], requires_grad: each member's own batch
/// epsilon   >= 0, in the unit of the inputs after normalisation
/// returns   the shape of inputs, no gradient. Memory: the backward pass of `loss` down to the
///           inputs, and two tensors of their size.
/// scale     > 0: scale * loss is differentiated. The sign does not change, and small derivatives
///           do not underflow to 0 in f16 layers (autocast). An element whose derivative is NaN is
///           not moved, one whose derivative is infinite is moved
/// overflow  if not nullptr: set to a scalar of the inputs' dtype, 0 if all derivatives are finite,
///           else NaN
/// Throws Error::kUsage (loss not a scalar, or independent of the inputs; inputs without
/// requires_grad; epsilon or scale out of range).
/// Training on them: a second forward pass, then cross_entropy with the members' labels. It is
/// always the plain cross-entropy, even if the base loss is logit_norm.
/// Ref: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015;
/// Lakshminarayanan et al., Deep Ensembles, NeurIPS 2017; sdde openood/trainers/deed_trainer.py
/// DEEDTrainer._adversarial_loss; cases sdde_losses.h5 total_inpgrad_adversarial.
at::Tensor adversarial_inputs(const at::Tensor& loss, const at::Tensor& inputs, double epsilon,
                              double scale = 1, at::Tensor* overflow = nullptr);

}  // namespace dissent::losses
