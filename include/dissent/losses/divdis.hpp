#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::losses {

enum class DivDisMode {
  kMutualInformation,  ///< `mi`: value of a pair is the mutual information of its classes over the
                       ///< batch; the loss is +MI
  kL1,                 ///< `l1`: value of a pair is its mean L1 distance; the loss is -distance
};
enum class DivDisReduction {
  kMean,     ///< mean over the pairs
  kMinEach,  ///< `min_each`: for each member the pair with its most similar partner (largest MI,
             ///< smallest distance), mean over members
};

struct DivDisOptions {
  DivDisMode mode = DivDisMode::kMutualInformation;
  DivDisReduction reduction = DivDisReduction::kMean;
};

/// Pairwise repulsion of DivDis (to be minimised), over unordered pairs (g, h) of members:
///   mi   v_gh =  sum_de J_de (log J_de - log Q_de + 1e-9),   J = mean over b of p_g p_h' (C x C),
///       Q the product of J's marginals
///   l1   v_gh = -mean over b of sum_c |p_gc - p_hc|
///   loss = mean over pairs of v (kMean), or mean over g of max over h of v_gh (kMinEach)
/// logits   [M, B, C]  f32 or f64, M >= 2, any device. C = 1: the probabilities are (sigmoid z, 1 -
///          sigmoid z), else softmax z
/// returns  scalar, nats or L1 distance; differentiable once (a second derivative is Error::kUsage)
/// Pairs whose v is exactly 0 are excluded from the mean and from the maxima, as in the reference
/// (equal members in l1). If no pair remains: 0 with zero gradient (reference: NaN, or an
/// exception). 0 log 0 = 0 (reference: NaN if a probability is exactly 0 in the whole batch).
/// Memory: the probabilities plus three C x C for one pair at a time, forward and backward
/// (recomputed); never B x M x M x C x C. Symmetric in the order of the members.
/// Throws Error::kUsage (one member, shape, dtype).
/// Ref: DivDis (Lee, Yao, Finn, ICLR 2023); SED diverse_universe/train/losses.py
/// divdis_loss_forward_impl; cases sed_losses.h5 divdis.
at::Tensor divdis(const at::Tensor& logits, DivDisMode mode, DivDisReduction reduction);

}  // namespace dissent::losses
