#pragma once
#include <dissent/scores/postprocessor.hpp>

// Energy, LSE(z) = log sum_c exp z_c, of logits from changed features or a changed head
// (postprocessor.hpp describes what they share, shaping.hpp the changes). logits_<name> gives the
// changed logits [N, C] f64 themselves, which the reference also predicts with; the logits given to
// score_<name> are not read. The head is part of each state: weight [C, D], bias [C].
namespace dissent::scores {

struct ReactOptions {
  double percentile = 90;  ///< of all validation activations, 0 .. 100
};
/// LSE(W min(h, t) + b). (Sun et al., ReAct, 2021) Reads validation features, head. State:
/// threshold, ..
State fit_react(const FitData& data, const ReactOptions& options = {});
at::Tensor score_react(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor logits_react(const State& state, const at::Tensor& features);

struct AshOptions {
  double percentile = 90;  ///< share that is pruned, 0 .. 100
};
/// LSE(W ash(h) + b), the variants p, b, s. (Djurisic et al., ASH, 2023) Reads the head. State:
/// percentile, ..
State fit_ash(const FitData& data, const AshOptions& options = {});
at::Tensor score_ash_p(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor score_ash_b(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor score_ash_s(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor logits_ash_p(const State& state, const at::Tensor& features);
at::Tensor logits_ash_b(const State& state, const at::Tensor& features);
at::Tensor logits_ash_s(const State& state, const at::Tensor& features);

struct ScaleOptions {
  double percentile = 85;  ///< 0 .. 100
};
/// LSE(W scale(h) + b). (Xu et al., SCALE, 2024) Reads the head. State: percentile, ..
State fit_scale(const FitData& data, const ScaleOptions& options = {});
at::Tensor score_scale(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor logits_scale(const State& state, const at::Tensor& features);

struct VraOptions {
  double percentile_high = 90,
         percentile_low = 10;  ///< of all validation activations, 0 .. 100, low <= high
};
/// LSE(W vra(h) + b). (Xu et al., VRA, 2023, as in OpenOOD) Reads validation features, head.
/// State: threshold_low, threshold_high, ..
State fit_vra(const FitData& data, const VraOptions& options = {});
at::Tensor score_vra(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor logits_vra(const State& state, const at::Tensor& features);

struct DiceOptions {
  double p = 90;  ///< percentile of the C D contributions up to which weights are dropped, 0 .. 100
};
/// LSE(W' h + b), W' the weights whose contribution W_cj mean(h_j) is above the percentile, 0
/// elsewhere. (Sun and Li, DICE, 2022) Reads training features, head. State: weight (W'), mask [C,
/// D] i64 (W' != 0), threshold, bias.
State fit_dice(const FitData& data, const DiceOptions& options = {});
at::Tensor score_dice(const State& state, const at::Tensor& features, const at::Tensor& logits);
at::Tensor logits_dice(const State& state, const at::Tensor& features);

}  // namespace dissent::scores
