#pragma once
#include <cstdint>

#include <dissent/scores/postprocessor.hpp>

// Distances under Gaussians fitted to the training features (postprocessor.hpp describes what they
// share). Covariances are of the features about their class mean, divided by N; their inverse is
// the symmetric pseudo-inverse, so directions without spread (dead units) fall out: eigenvalues up
// to D 2^-52 times the largest count as 0. The means are found in a first pass and the covariance
// about them in a second: sums of squares in one pass cancel where classes lie far apart. With P =
// A A^T the distance is |(h - mu) A|^2, for all classes at once by a product, and once more by
// differences for the nearest.
namespace dissent::scores {

struct GaussianOptions {
  int64_t block_rows = 1024;  ///< samples at a time
};

/// max_c -(h - mu_c)^T P (h - mu_c), mu_c the mean of class c by true labels, P of the covariance
/// about the class means. (Lee et al., Mahalanobis, 2018) A class without training samples is left
/// out. Reads training features and labels.
/// State: class_mean [C, D], class_count [C], whole_mean [D], whitening A [D, r], class_points
/// (mu_c - mu) A [C, r] (made where they are missing), ..
State fit_mds(const FitData& data, const GaussianOptions& options = {});
at::Tensor score_mds(const State& state, const at::Tensor& features, const at::Tensor& logits);

/// The same plus (h - mu)^T P_0 (h - mu), mu and P_0 of all training features in one class. (Ren et
/// al., Relative Mahalanobis, 2021) State: that of mds, and whole_whitening [D, r_0].
State fit_rmds(const FitData& data, const GaussianOptions& options = {});
at::Tensor score_rmds(const State& state, const at::Tensor& features, const at::Tensor& logits);

/// The pseudo-inverse P = A A^T of a state of mds or rmds: [D, D] f64. Error::kUsage for another
/// one.
at::Tensor precision(const State& state);

}  // namespace dissent::scores
