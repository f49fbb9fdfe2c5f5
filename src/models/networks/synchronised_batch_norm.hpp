#pragma once
#include <ATen/core/Tensor.h>

#include "comm/communicator.hpp"

namespace dissent {

/// A BatchNorm layer in training mode whose batch is split over ranks.
struct SplitBatchNorm {
  at::Tensor weight, bias;                    ///< [K], of the dtype of x or f32
  at::Tensor running_mean, running_variance;  ///< [K], moved in place
  double momentum, eps;
  Communicator& data;  ///< the ranks that share the batch, over memory of x's device
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased variance of each channel being
/// those of the rows of all ranks, however many each has. running_mean and running_variance move by
/// `momentum` towards the mean and the unbiased variance: the same bits on every rank.
/// x        [b, K, H, W]  f32, f64 or bf16: this rank's rows, b >= 0
/// returns  as x. Derivatives of any order, for an objective that is the SUM over ranks of what
///          each differentiates: every backward pass, and every one through its graph, is
///          collective too. weight and bias get the derivative of this rank's rows; add it up over
///          the ranks.
/// Counts, means and sums of squares travel in f64, [2 K + 1] forwards and [2 K] backwards, and are
/// put together in rank order.
/// All ranks build the same graph and run it at the same time, one graph at a time: autograd then
/// takes the layers in one order on every rank. On the CPU all of it happens on the calling thread.
/// Error::kUsage on every rank where the whole batch has no more than one value a channel.
/// Collective over `data`.
/// Ref: Ioffe, Szegedy 2015; Chan, Golub, LeVeque 1983 (putting moments together);
/// torch.nn.SyncBatchNorm, which has no second derivative
at::Tensor synchronised_batch_norm(const at::Tensor& x, const SplitBatchNorm& layer);

/// The sum over ranks, in rank order, so of the same bits on each; its derivative is the sum over
/// ranks of the derivatives, of any order.
/// values   [n]  f64, the same n on every rank
/// Collective, forwards and backwards.
at::Tensor sum_over_ranks(const at::Tensor& values, Communicator& data);

/// synchronised_batch_norm by differentiable operators alone: any device, slower. Not moving
/// running statistics where they are undefined.
at::Tensor composed_batch_norm(const at::Tensor& x, const SplitBatchNorm& layer);

}  // namespace dissent
