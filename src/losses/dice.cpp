#include <dissent/losses/dice.hpp>

#include <cmath>

#include "core/tensor_check.hpp"

namespace dissent::losses {

std::vector<std::pair<int64_t, int64_t>> member_pairs(int64_t members) {
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (int64_t i = 0; i < members; ++i)
    for (int64_t j = i + 1; j < members; ++j) pairs.emplace_back(i, j);
  return pairs;
}

at::Tensor dice(const at::Tensor& pair_logits, const DiceOptions& options) {
  const bool fits =
      pair_logits.defined() && pair_logits.dim() == 2 && pair_logits.numel() > 0 &&
      (pair_logits.scalar_type() == at::kFloat || pair_logits.scalar_type() == at::kDouble);
  DISSENT_CHECK(fits, kUsage,
                "dice: pair_logits: expected [P >= 1, B >= 1] of f32 or f64, found {}",
                describe(pair_logits));
  DISSENT_CHECK(options.tau > 0 && std::isfinite(options.tau), kUsage,
                "dice: tau: expected a number > 0, found {}", options.tau);
  const auto bound = at::full({}, -std::log(kDiceEps), pair_logits.options());
  const auto ratio = at::minimum(pair_logits, bound) - at::softplus(-(pair_logits - bound).abs());
  return ((ratio / options.tau).tanh() * options.tau).mean();
}

at::Tensor roll_within_class(const at::Tensor& labels) {
  DISSENT_CHECK(labels.defined() && labels.dim() == 1 && labels.numel() > 0 &&
                    labels.scalar_type() == at::kLong,
                kUsage, "roll_within_class: labels: expected [B >= 1] Long, found {}",
                describe(labels));
  const auto order = labels.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/false);
  const auto sorted = labels.index_select(0, order);
  const auto place = at::arange(labels.size(0), labels.options());
  const auto first = at::searchsorted(sorted, sorted),
             last = at::searchsorted(sorted, sorted, /*out_int32=*/false, /*right=*/true) - 1;
  const auto before = at::where(place.eq(first), last, place - 1);
  return at::empty_like(order).scatter_(0, order, order.index_select(0, before));
}

}  // namespace dissent::losses
