#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dissent::losses {

/// Added to a norm before division; to the diagonal of the Gram matrix; to range, numerator and
/// denominator of the intersection over union.
inline constexpr double kNormEps = 1e-6;
inline constexpr double kDiagonalEps = 1e-5;
inline constexpr double kIouEps = 1e-6;

/// Measures of how similar members are, from one vector x_mb per member and sample. Pairs are
/// ordered, i != j; v = x / (|x| + kNormEps).
enum class Similarity {
  kDot,        ///< `dot`: mean over pairs and B of <x_i, x_j>
  kCosine,     ///< `cosine`: the same with v in place of x, so -1 / (M - 1) .. 1
  kExpCosine,  ///< `expcosine`: log(1/2 sum over pairs AND the batch of exp <v_i, v_j>): one
               ///< logarithm, so it grows with log B
  kIou,  ///< `iou`: mean over pairs and B of (r_i.r_j + eps) / (|r_i|^2 + |r_j|^2 - r_i.r_j + eps),
         ///< r = (x - min x) / (max x - min x + eps)
  kLogDet,  ///< `logdet`: mean over B of -log det(V V^T + kDiagonalEps I), V [M, D] the rows v; -M
            ///< log(1 + eps) .. -(M - 1) log eps, roughly
};

/// Similarity of the members, one number (to be minimised).
/// x        [M, B, D]  f32 or f64, any device; M >= 2 (kLogDet: M >= 1), B, D >= 1
/// returns  scalar of x's dtype; differentiable (twice). The derivative of |x| at 0 is 0, that of
///          max and min is shared evenly by equal entries, so value and gradient are finite for
///          zero and constant vectors.
/// Cost     kDot, kCosine: O(M) in time and memory, by sum over pairs of <x_i, x_j> = |sum_i x_i|^2
///          - sum_i |x_i|^2. The others have no such form and need a Gram matrix per sample, B x M
///          x M; kLogDet computes in f64 for every dtype (in f32 the determinant is lost if members
///          are similar). Peak memory with the gradient, in sizes of x: kDot, kCosine 4, kExpCosine
///          5, kIou 6, kLogDet (f32 input) 12.
/// Precision: the error of kDot is a few roundings of the mean of |x|^2, which may be large
/// relative to a value near 0. Symmetric in the order of members.
/// Throws Error::kUsage (too few members, shape, dtype).
/// Ref: SDDE (arXiv 2306.06494); sdde openood/trainers/diversity/common.py; cases sdde_losses.h5
/// similarity_*.
at::Tensor similarity(const at::Tensor& x, Similarity kind);

/// Conversion from and to names.
/// Throws Error::kUsage that lists the known names.
Similarity similarity_kind(const std::string& name);
std::string to_string(Similarity kind);
const std::vector<std::string>& similarity_names();

}  // namespace dissent::losses
