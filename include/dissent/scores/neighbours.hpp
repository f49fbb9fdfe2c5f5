#pragma once
#include <cstdint>

#include <dissent/scores/postprocessor.hpp>

// Post-processors that compare a sample with rows of the training set (postprocessor.hpp describes
// what they share). Products are computed for block_rows samples and block_rows rows of the bank at
// a time: memory in addition to the inputs is a few block_rows^2 x 8 bytes per thread, for any N.
namespace dissent::scores {

struct KnnOptions {
  int64_t k = 50;  ///< rank of the neighbour, 1 .. N
  int64_t block_rows = 1024;
};
/// MINUS the squared distance to the k-th nearest of the training features, all divided by their
/// norm: -4 .. 0. (Sun et al., 2022)
///   -|h / |h| - t / |t||^2
/// Exact; a zero feature has no direction and stays 0, at distance 1 from all that have one.
/// Reads training features. State: bank (the training features themselves), k, block_rows.
/// On the CPU rows of the bank are chosen by f32 products, with a bound on their rounding, and
/// measured in f64: the same value, and the same bits for any blocks and threads, in the time of
/// f32 products (src/scores/nearest.hpp). Samples are processed in blocks of min(block_rows,
/// block_rows^2 / k).
/// Ref: OpenOOD knn_postprocessor.py, which adds 1e-10 to every normalised value: that cancels in a
/// difference.
State fit_knn(const FitData& data, const KnnOptions& options = {});
at::Tensor score_knn(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct NnguideOptions {
  int64_t k = 100;           ///< neighbours, 1 .. rows of the bank
  double alpha = 0.01;       ///< share of the training set in the bank, above 0 .. 1
  int64_t batch_rows = 200;  ///< the bank is whole batches of this size, in the set's order, until
                             ///< they are more than alpha N rows (reference's loader)
  int64_t block_rows = 1024;
};
/// LSE(z) times the mean of the k largest <h', t' LSE(z_t)>, h' = h / |h| + 1e-10 in each value.
/// (Park et al., NNGuide, 2023) A zero feature counts as h' = 1e-10. Reads training features and
/// logits. A set stored class by class gives a bank of few classes: shuffle it. State: bank,
/// bank_energy [rows], k, block_rows.
State fit_nnguide(const FitData& data, const NnguideOptions& options = {});
at::Tensor score_nnguide(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct RelationOptions {
  double power = 1;         ///< of an edge, above 0
  double threshold = 0.03;  ///< edges not above it are left out, before the power
  int64_t block_rows = 1024;
};
/// Sum over training rows t of e_t^power, e_t = max(cos(h, t), 0) <softmax(z), softmax(z_t)> where
/// above the threshold. (Kim et al., Neural Relation Graph, 2023) Norms are sqrt(|h|^2 + 1e-10), so
/// a zero feature scores 0. Reads training features and logits. State: bank, bank_logits, ..
State fit_relation(const FitData& data, const RelationOptions& options = {});
at::Tensor score_relation(const State& state, const at::Tensor& features, const at::Tensor& logits);

struct CfoodOptions {
  double alpha = 0.1;  ///< share of the training set in the reference set, above 0 .. 1
  double k = 0.01;  ///< share of reference rows whose neighbourhood has to hold the sample, 0 .. 1
  int64_t seed =
      1;  ///< draws the reference set where FitData::order does not give it and alpha < 1
  int64_t block_rows = 1024;
};
/// MINUS the smallest fraction f of a grid (0.001 .. 0.99) for which at least a share k of the n
/// reference rows r have the sample no farther away than their own neighbour number trunc(f n - 1)
/// + 1 (0: the row itself); -1 if there is none. Features are divided by (norm + 1e-10). (Conformal
/// k-nn, OpenOOD's CFOOD) Reads training features, and at least 2 reference rows. Distances by
/// differences, not products, so that a training row ties with itself. State: bank [n, D], kval and
/// kpos [J] (the grid without repeated positions), distances [n, J] of each row to its neighbours,
/// .. Time of the fit: n^2 (D + log n).
/// Ref: OpenOOD cfood_postprocessor.py.
State fit_cfood(const FitData& data, const CfoodOptions& options = {});
at::Tensor score_cfood(const State& state, const at::Tensor& features, const at::Tensor& logits);

}  // namespace dissent::scores
