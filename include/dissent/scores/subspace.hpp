#pragma once
#include <cstdint>

#include <dissent/scores/postprocessor.hpp>

// How far a feature lies outside of the principal space of features of the set (postprocessor.hpp
// describes what they share).
//   u = -pinv(W) b, the origin at which the logits are smallest
//   R = the eigenvectors [D, D - dim] of (1 / N) sum (h - u)(h - u)^T past the dim largest
namespace dissent::scores {

struct VimOptions {
  int64_t dim = 256;  ///< of the principal space, 0 .. D - 1; Error::kUsage from D on, where
                      ///< nothing is left (the reference divides 0 by 0)
};
/// LSE(z) - alpha |R^T (h - u)|, alpha = mean of max_c z over mean of the norm, both of the
/// training set. (Wang et al., ViM, 2022)
/// Error::kUsage if the training features do not leave their principal space. Reads training
/// features and logits, head.
/// State: u [D], residual_space [D, D - dim], alpha.
State fit_vim(const FitData& data, const VimOptions& options = {});
at::Tensor score_vim(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct ResidualOptions {
  int64_t dim = 512;  ///< as above
};
/// -|R^T (h - u)|, R of the VALIDATION features, as released. Reads validation features, head.
/// State: u, residual_space.
State fit_residual(const FitData& data, const ResidualOptions& options = {});
at::Tensor score_residual(const State& state, const at::Tensor& features, const at::Tensor& logits);

}  // namespace dissent::scores
