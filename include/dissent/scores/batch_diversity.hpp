#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::scores {

// Diversity of members over one batch, one number each. Arguments: outputs [M >= 2, B >= 1, C] f32
// or f64, any device; returns a scalar tensor. The reference always applies softmax here, also to
// outputs that are probabilities already (p below), and reports the plain mean of batch values, so
// a short last batch counts as much as a full one; keep its batch size when comparing.
// Throw Error::kUsage for one member, shape or dtype.
// Ref: SED diverse_universe/train/losses.py div_var, div_std, max_prob_var, dis, kl_divergence;
// cases sed_scores.h5 batch_*.

/// MINUS the mean over samples and classes of the variance over members of p (divided by M - 1).
at::Tensor variance(const at::Tensor& outputs);

/// MINUS the mean over samples and classes of the standard deviation over members of p (divided by
/// M - 1).
at::Tensor standard_deviation(const at::Tensor& outputs);

/// PLUS the variance over members of p (M - 1), read at the class that each (member, sample) of the
/// batch predicts and averaged over all samples:
///   sum_c n_c mean_b var_m p_mbc / (M B),
///       n_c the number of predictions of class c in the batch
/// Memory: p only (the reference: M x B x M x B).
at::Tensor max_variance(const at::Tensor& outputs);

/// Mean over pairs of members of the DivDis mutual information over the batch, nats (pairs of
/// exactly 0 left out; 0 log 0 = 0). Memory: three C x C.
at::Tensor divdis_information(const at::Tensor& outputs);

/// MINUS the mean over pairs i < j and samples of sum_c (p_jc + 1e-8) (log(p_jc + 1e-8) - log(p_ic
/// + 1e-8)), nats. Not symmetric in member order.
at::Tensor kl_divergence(const at::Tensor& outputs);

}  // namespace dissent::scores
