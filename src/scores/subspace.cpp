#include <dissent/scores/subspace.hpp>

#include <cstdint>
#include <limits>

#include "core/tensor_check.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"

namespace dissent::scores {
namespace {

State fit(const char* name, const at::Tensor& features, const LinearHead& given, int64_t dim) {
  const int64_t d = features.size(1);
  DISSENT_CHECK(dim >= 0 && dim < d, kUsage, "{}: dim: expected 0 .. {} for {} features, found {}",
                name, d - 1, d, dim);

  // The origin: minus the minimum-norm solution of W u = b, so the logits of u are smallest.
  const auto head = checked_head(name, given, d);
  const auto u = at::mv(at::linalg_pinv(head.weight), head.bias).neg();
  // Second moments about u, not about the mean: u is the origin of the space.
  const auto moment = second_moment(features, [&](at::Tensor& block, int64_t) { block.sub_(u); });
  const auto vectors = std::get<1>(at::linalg_eigh(moment));  // the largest eigenvalues last
  return {{"u", u}, {"residual_space", vectors.narrow(1, 0, d - dim).contiguous()}};
}

at::Tensor residual(const at::Tensor& h, const at::Tensor& u, const at::Tensor& space) {
  return at::mm(h - u, space).norm(2, {1});
}

}  // namespace

State fit_vim(const FitData& data, const VimOptions& options) {
  const auto features = checked_features("vim", "training", data.train);
  const auto logits = checked_logits("vim", "training", data.train, data.head);
  auto state = fit("vim", features, data.head, options.dim);
  const auto &u = state.at("u"), &space = state.at("residual_space");

  // alpha matches the mean residual to the mean largest logit of the training set.
  double outside = 0, length = 0, largest = 0;
  for_blocks(features, kBlockRows, [&](const at::Tensor& block, int64_t first) {
    outside += residual(block, u, space).sum().item<double>();
    length += (block - u).norm(2, {1}).sum().item<double>();
    largest += logits.narrow(0, first, block.size(0)).to(at::kDouble).amax(1).sum().item<double>();
  });

  // A residual of the size of rounding errors has no direction.
  const double noise =
      static_cast<double>(u.size(0)) * std::numeric_limits<double>::epsilon() * length;
  DISSENT_CHECK(outside > noise, kUsage,
                "vim: dim: expected fewer dimensions than the training features span, found that "
                "nothing is left outside of {}; use a smaller score.vim.dim",
                options.dim);

  state["alpha"] = at::scalar_tensor(largest / outside, at::kDouble);
  return state;
}

at::Tensor score_vim(const State& state, const at::Tensor& features, const at::Tensor& logits) {
  const auto &u = from_state("vim", state, "u"),
             &space = from_state("vim", state, "residual_space");
  const double alpha = number_from_state("vim", state, "alpha");
  return score_rows({"vim", features, logits, u.size(0), -1},
                    [&](const at::Tensor& h, const at::Tensor& z) {
                      return z.logsumexp(1) - residual(h, u, space) * alpha;
                    });
}

State fit_residual(const FitData& data, const ResidualOptions& options) {
  return fit("residual", checked_features("residual", "validation", data.validation), data.head,
             options.dim);
}

at::Tensor score_residual(const State& state, const at::Tensor& features,
                          const at::Tensor& logits) {
  static_cast<void>(logits);
  const auto &u = from_state("residual", state, "u"),
             &space = from_state("residual", state, "residual_space");
  return score_rows(
      {"residual", features, {}, u.size(0), 0},
      [&](const at::Tensor& h, const at::Tensor&) { return residual(h, u, space).neg(); });
}

}  // namespace dissent::scores
