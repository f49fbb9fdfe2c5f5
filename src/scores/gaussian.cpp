#include <dissent/scores/gaussian.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/tensor_check.hpp"
#include "scores/bank.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"

namespace dissent::scores {
namespace {

constexpr int64_t kTaskRows = 256;

// A with pseudo-inverse A A^T of a covariance.
at::Tensor whitening(const at::Tensor& covariance) {
  const auto [values, vectors] = at::linalg_eigh(covariance);

  // Eigenvalues of the size of rounding errors would become huge weights: their directions are
  // left out. With the others, A = V diag(lambda)^-1/2.
  const double least = static_cast<double>(covariance.size(0)) *
                       std::numeric_limits<double>::epsilon() * values.abs().max().item<double>();
  const auto kept = values.gt(least).nonzero().squeeze(1);
  return vectors.index_select(1, kept) * values.index_select(0, kept).rsqrt();
}

State fit(const char* name, const FitData& data, const GaussianOptions& options, bool relative) {
  const auto features = checked_features(name, "training", data.train);
  const auto classes = class_count(data);
  const auto labels =
      checked_labels(name, "training", data.train, features.size(0), classes, features.device());
  const auto [class_mean, class_count] = class_means(features, labels, classes);

  // The covariance is about the class means, found in a first pass: sums of squares about the
  // origin would cancel.
  const auto share = (class_count / static_cast<double>(features.size(0))).unsqueeze(1);
  const auto mean = (class_mean * share).sum(0), centres = class_mean - mean;
  const auto covariance =
      second_moment(features, [&, &means = class_mean](at::Tensor& block, int64_t first) {
        block.sub_(means.index_select(0, labels.narrow(0, first, block.size(0))));
      });

  // In whitened coordinates A^T h the Mahalanobis distance is the Euclidean one; the class means
  // are transformed once, here.
  const auto a = whitening(covariance);
  State state = {{"class_mean", class_mean},
                 {"class_count", class_count},
                 {"whole_mean", mean},
                 {"whitening", a},
                 {"class_points", at::mm(centres, a)}};

  // The covariance about the mean of all samples is that within classes plus that between classes.
  if (relative)
    state["whole_whitening"] = whitening(covariance + at::mm(centres.t(), centres * share));
  return bank_state(name, std::move(state), options.block_rows);
}

// Squared distance to the nearest class mean.
at::Tensor class_distance(const at::Tensor& h, const at::Tensor& whole_mean,
                          const at::Tensor& whitening, const at::Tensor& class_points,
                          const at::Tensor& class_squares) {
  // argmin over c of |c|^2 - 2 <point, c> selects the class by one product; the distance itself
  // is computed from the difference, as the product would cancel.
  const auto point = at::mm(h - whole_mean, whitening);
  const auto nearest = at::addmm(class_squares, point, class_points.t(), 1, -2).argmin(1);
  return (point - class_points.index_select(0, nearest)).square().sum(1);
}

at::Tensor score(const char* name, const State& state, const at::Tensor& features, bool relative) {
  const auto &whole_mean = from_state(name, state, "whole_mean"),
             &a = from_state(name, state, "whitening");

  // A state from another source may have no points.
  const auto class_points = state.contains("class_points")
                                ? state.at("class_points")
                                : at::mm(from_state(name, state, "class_mean") - whole_mean, a);

  // A class without training samples is never the nearest one.
  const auto absent = from_state(name, state, "class_count").eq(0);
  const auto class_squares =
      class_points.square().sum(1).masked_fill(absent, std::numeric_limits<double>::infinity());

  const auto of_block = [&](const at::Tensor& h, const at::Tensor&) {
    const auto distance = class_distance(h, whole_mean, a, class_points, class_squares);
    if (!relative) return distance.neg();
    return at::mm(h - whole_mean, from_state(name, state, "whole_whitening")).square().sum(1) -
           distance;
  };

  // Parts of a block are tasks, so that one block is enough for all threads.
  return score_rows({name, features, {}, whole_mean.size(0), 0}, of_block,
                    std::min(kTaskRows, count_from_state(name, state, "block_rows")));
}

}  // namespace

State fit_mds(const FitData& data, const GaussianOptions& options) {
  return fit("mds", data, options, false);
}

at::Tensor score_mds(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  static_cast<void>(logits);
  return score("mds", state, features, false);
}

State fit_rmds(const FitData& data, const GaussianOptions& options) {
  return fit("rmds", data, options, true);
}

at::Tensor score_rmds(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  static_cast<void>(logits);
  return score("rmds", state, features, true);
}

at::Tensor precision(const State& state) {
  const auto& a = from_state("precision", state, "whitening");
  return at::mm(a, a.t());
}

}  // namespace dissent::scores
