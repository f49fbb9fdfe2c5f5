#pragma once
#include <ATen/ATen.h>

namespace dissent {

/// Added to each log ratio of the mutual information: J (log J - log Q + 1e-9). Since J sums to 1,
/// it adds 1e-9 to the value.
inline constexpr double kPairInformationEps = 1e-9;

/// Joint distribution of two members' classes over a batch, and log J - log Q + eps with Q the
/// product of its marginals.
struct PairInformation {
  at::Tensor joint;  ///< J [C, C], J_de = mean over b of p_bd q_be
  at::Tensor ratio;  ///< [C, C]; 0 where J is 0, so that 0 log 0 = 0
};

/// p, q [B, C] f32 or f64, same device; log marginals [C] of each (log of the mean over B). Memory:
/// two C x C. Not differentiable.
/// Ref: DivDis (Lee, Yao, Finn, ICLR 2023), mutual information; SED
/// diverse_universe/train/losses.py divdis_loss_forward_impl.
inline PairInformation pair_information(const at::Tensor& p, const at::Tensor& q,
                                        const at::Tensor& log_p, const at::Tensor& log_q) {
  PairInformation pair;
  pair.joint = at::mm(p.t(), q).div_(static_cast<double>(p.size(0)));
  pair.ratio =
      pair.joint.log().sub_(log_p.unsqueeze(1)).sub_(log_q.unsqueeze(0)).add_(kPairInformationEps);
  pair.ratio.masked_fill_(pair.joint.eq(0), 0);
  return pair;
}

}  // namespace dissent
