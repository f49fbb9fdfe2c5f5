#pragma once
#include <dissent/scores/postprocessor.hpp>

// Post-processors that combine a feature with the class that the logits predict, y^ = argmax z,
// first on ties (postprocessor.hpp describes what they share).
namespace dissent::scores {

enum class SheMetric { kInnerProduct, kEuclidean, kCosine };
struct SheOptions {
  SheMetric metric = SheMetric::kInnerProduct;
};
/// Similarity of h to the pattern s of class y^: <h, s>, -|h - s| or cos(h, s). (Zhang et al.,
/// Simplified Hopfield Energy, 2023) s is the mean feature of the class's CORRECTLY classified
/// training samples; a class without any has the pattern 0 (the reference gives NaN). Reads
/// training features, logits and labels. State: patterns [C, D], metric.
State fit_she(const FitData& data, const SheOptions& options = {});
at::Tensor score_she(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct FdbdOptions {
  bool distance_as_normalizer =
      true;  ///< divide by |h - mean of the training features|, else by |h|
};
/// (sum over c != y^ of |z_c - z_y^| / |w_c - w_y^|) / normaliser: the distances to the decision
/// boundaries. (Liu and Qin, fDBD, 2024) A sum, not the paper's mean. Classes whose weight equals
/// that of y^ have no boundary and are left out. Normaliser 0: score 0, the lowest (the reference
/// gives inf). Reads training features, head. State: train_mean [D], class_distance [C, C],
/// distance_as_normalizer.
State fit_fdbd(const FitData& data, const FdbdOptions& options = {});
at::Tensor score_fdbd(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct NciOptions {
  double alpha = 0.0001;  ///< weight of the norm, >= 0
};
/// <w_y^, h - m> / |h - m| + alpha |h|_1, m the mean of the training features: not divided by |w|,
/// and the norm is of the uncentred feature, as released. (Liu and Qin, Neural Collapse Inspired,
/// 2025) h = m: the first term is 0. Reads training features, head. State: train_mean, weight,
/// alpha.
State fit_nci(const FitData& data, const NciOptions& options = {});
at::Tensor score_nci(const State& state, const at::Tensor& features, const at::Tensor& logits);

/// sum_c |C p_c - 1| times |h|_1, p = softmax(z): the L1 norm of the gradient with respect to W of
/// sum_c -log p_c, without autograd. (Huang et al., GradNorm, 2021, the bias gradient left out as
/// released) Reads nothing. State: empty.
at::Tensor score_gradnorm(const State& state, const at::Tensor& features, const at::Tensor& logits);

}  // namespace dissent::scores
