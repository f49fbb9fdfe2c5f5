#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include <dissent/shared_constants.hpp>

namespace dissent::losses {

/// How the samples of [loss.a2d] are weighted: equally, or by hard_sample_weight.
enum class SampleWeight { kNone, kHard };

struct A2dOptions {
  SampleWeight sample_weight = SampleWeight::kNone;
};

/// Repulsion of one drawn member m from all others, per sample (to be minimised):
///   l_b = mean over i != m of  -log( p_i (1 - p_m) + p_m (1 - p_i) + kA2dEps ),
///       both read at the class argmax_c p_ib (first index on ties)
/// so it is small if exactly one of the two members predicts the class that i predicts. The largest
/// value of a sample is -log(1e-9) = 20.72.
///
/// a2d                 logits [M, B, C] f32 or f64, any device; takes their softmax
/// a2d_probabilities   probabilities [M, B, C], taken as they are
/// m                   the drawn member, 0 .. M - 1; M >= 2
/// returns             [B]  nats, -1e-9 .. 20.73; differentiable (twice) in every member, also
///                     through p_m. Memory: the softmax and, in backward, one tensor of its size;
///                     all else is M x B.
/// Throws Error::kUsage: fewer than two members, m out of range, shape or dtype.
/// Not symmetric in the members: the class that m itself predicts is not used. Symmetric in the
/// order of the other members.
/// Ref: A2D (Pagliardini et al., Agree to Disagree, ICLR 2023); SED
/// diverse_universe/train/losses.py a2d_loss_impl; cases sed_losses.h5 a2d.
at::Tensor a2d(const at::Tensor& logits, int64_t m);
at::Tensor a2d_probabilities(const at::Tensor& probabilities, int64_t m);

}  // namespace dissent::losses
