#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace dissent::losses {

/// Added inside the logarithm of the density ratio: bounds it by -log(1e-6) = 13.82 from above.
inline constexpr double kDiceEps = 1e-6;

struct DiceOptions {
  double tau = 10.0;  ///< the log ratio is clipped to (-tau, tau) by tau * tanh(r / tau); > 0
  std::vector<int64_t> units = {256, 256, 100};  ///< sizes of the discriminator's hidden layers
  int64_t label_dim = 64;                        ///< size of its label embedding
  double leaky_slope = 0.2;                      ///< negative slope of its LeakyReLU
};

/// Unordered pairs (i, j), i < j, of M members: (0, 1), (0, 2), .., (M - 2, M - 1). P = M (M - 1) /
/// 2.
std::vector<std::pair<int64_t, int64_t>> member_pairs(int64_t members);

/// DICE's repulsion of features (to be minimised): an estimate of the information that two members'
/// features share beyond the label, from the logits D of a discriminator of joint pairs (z_i, z_j,
/// y) against pairs of two samples of one class (dice_discriminator.hpp).
///   l = mean over pairs and b of  tau * tanh(r / tau),   r = -log(exp(-D) + 1e-6)
/// pair_logits  [P, B]  f32 or f64, P >= 1, any device: D at (z_ib, z_jb, y_b)
/// returns      scalar, -tau .. tau * tanh(13.82 / tau) (8.81 at tau 10); differentiable (twice)
/// Written as r = min(D, c) - softplus(-|D - c|), c = -log 1e-6: the same value, finite with finite
/// derivatives for every finite D, in f32 too (the reference's gradient is NaN for D <= -89 in
/// f32). A mean over samples. Memory: a few P x B.
/// Throws Error::kUsage (shape, dtype, no pair, tau out of range).
/// Ref: Rame and Cord, DICE: Diversity in Deep Ensembles via Conditional Redundancy Adversarial
/// Estimation, ICLR 2021; sdde openood/trainers/diversity/dice.py; cases sdde_losses.h5 dice.
at::Tensor dice(const at::Tensor& pair_logits, const DiceOptions& options = {});

/// For each sample the index of the previous sample of its class, in order of appearance; for the
/// first sample of a class the index of the last, for a class of one sample its own index. So
/// index_select with it rolls each class by one. The reference requires equal counts of all
/// classes; here they may differ. labels [B] i64, any device, B >= 1. Returns [B] i64 there: a
/// permutation of 0 .. B - 1.
/// Ref: sdde openood/networks/discriminator.py group_by_class, pair_loss.
at::Tensor roll_within_class(const at::Tensor& labels);

}  // namespace dissent::losses
