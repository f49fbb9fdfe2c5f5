#pragma once
#include <ATen/core/Tensor.h>

#include "comm/communicator.hpp"

namespace dissent {

/// A BatchNorm layer in training mode whose batch is split over ranks.
struct SplitBatchNorm {
  at::Tensor weight, bias;                    ///< [K], in the dtype of x or f32
  at::Tensor running_mean, running_variance;  ///< [K], updated in place
  double momentum, eps;
  Communicator& data;  ///< the ranks that share the batch, over memory of x's device
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias, with mean and biased variance of each channel
/// over the rows of all ranks, however many each has. running_mean and running_variance move by
/// `momentum` towards the mean and the unbiased variance, bitwise the same on every rank.
/// x        [b, K, H, W]  f32, f64 or bf16: this rank's rows, b >= 0
/// returns  as x. Differentiable any number of times, for an objective that is the SUM over ranks
///          of what each rank differentiates: every backward pass, and every backward pass through
///          its graph, is collective too. weight and bias get the derivative for this rank's rows;
///          the caller sums it over the ranks.
/// Counts, means and sums of squares are exchanged in f64, [2 K + 1] values in the forward and [2
/// K] in the backward pass, and are merged in rank order. All ranks have to build the same graph
/// and run it at the same time, one graph at a time: autograd then visits the layers in the same
/// order on every rank. On the CPU everything runs on the calling thread.
/// Error::kUsage on every rank if the whole batch has at most one value per channel. Collective
/// over `data`.
/// Ref: Ioffe, Szegedy 2015; Chan, Golub, LeVeque 1983 (merging moments); torch.nn.SyncBatchNorm,
/// which has no second derivative
at::Tensor synchronised_batch_norm(const at::Tensor& x, const SplitBatchNorm& layer);

/// The sum over ranks in rank order, bitwise the same on each rank. Its derivative is the sum over
/// ranks of the derivatives; differentiable any number of times.
/// values   [n]  f64, the same n on every rank
/// Collective, in the forward and in the backward pass.
at::Tensor sum_over_ranks(const at::Tensor& values, Communicator& data);

/// synchronised_batch_norm by differentiable operators only: for any device, slower. Does not
/// update running statistics that are undefined.
at::Tensor composed_batch_norm(const at::Tensor& x, const SplitBatchNorm& layer);

}  // namespace dissent
