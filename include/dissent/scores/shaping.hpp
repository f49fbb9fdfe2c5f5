#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace dissent::scores {

// Features changed before the head reads them. features [.., D] f32 or f64, any device and leading
// dimensions (B, or M and B); the result has the same shape, dtype and device, the input is not
// changed. Throw Error::kUsage for shape, dtype and numbers outside of their range.

/// The p-th percentile of all values, as numpy gives it by default: linear between the order
/// statistics around p / 100 (n - 1). values f32 or f64, any shape, n >= 1; p in 0 .. 100. Exact;
/// one copy of the values, no sort. Error::kData if a value is NaN.
double percentile(const at::Tensor& values, double p);

/// SDDE's ReAct threshold over members: features [M, N, D] -> [1], all members pooled, or [M], each
/// of its own (f64, device of features).
/// Ref: SDDE deed_postprocessor.py find_react_threshold; cases sdde_scores.h5 react_threshold*.
at::Tensor react_threshold(const at::Tensor& features, double percentile, bool per_member);

/// min(h, threshold) (Sun et al., ReAct, 2021).
at::Tensor react(const at::Tensor& features, double threshold);
/// The same for members: features [M, B, D], threshold [M] or [1].
at::Tensor react(const at::Tensor& features, const at::Tensor& threshold);

/// Number of values that ASH and SCALE look at: k = D - round(D p / 100), halves to even; p in 0 ..
/// 100.
int64_t kept_count(int64_t dimension, double p);

// Extremely simple activation shaping (Djurisic et al., 2023): the k largest values of a sample
// stay, the others become 0. Among equal values at the boundary at::topk chooses. Ref: OpenOOD and
// SDDE openood/networks/ash_net.py; cases ash_* of sdde_scores.h5 and postprocessors.h5.

/// The k largest values are not changed.
at::Tensor ash_p(const at::Tensor& features, double p);
/// Each of the k largest becomes (sum of all before) / k, even if it was 0 or negative; k = 0 gives
/// zeros.
at::Tensor ash_b(const at::Tensor& features, double p);
/// The k largest times exp(sum of all before / their sum), with the exponent of `scale`.
at::Tensor ash_s(const at::Tensor& features, double p);

/// h exp(sum of h / sum of the k largest): nothing is pruned (Xu et al., Scaling for Training Time
/// and Post-hoc OOD Detection Enhancement, 2024). Where the reference gives NaN, because the sum of
/// the k largest is 0 (a zero feature, p = 100), the factor is 1. The exponent is at most 600 (f32:
/// 80), so that values stay finite. Ref: OpenOOD openood/networks/scale_net.py.
at::Tensor scale(const at::Tensor& features, double p);

/// Values below low become low, those above high become high. The paper (Xu et al., VRA, 2023)
/// zeroes the low ones; OpenOOD raises them, as here.
at::Tensor vra(const at::Tensor& features, double low, double high);

/// Logits of linear heads: features [B, D], weight [C, D], bias [C] -> [B, C]; or of members [M, B,
/// D], [M, C, D], [M, C] -> [M, B, C].
at::Tensor head_logits(const at::Tensor& features, const at::Tensor& weight,
                       const at::Tensor& bias);

}  // namespace dissent::scores
