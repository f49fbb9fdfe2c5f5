#include "losses/weighted_sum.hpp"

#include <cstdint>

#include "core/tensor_check.hpp"

namespace dissent::losses {

bool is_base(const LossTerm& term) { return find_loss(term.name).kind == LossKind::kBase; }

LossTraits traits_of(const LossTerm& term) { return traits_of(find_loss(term.name), term.options); }

WeightedSum weighted_sum(const std::vector<LossTerm>& terms, const LossInput& base,
                         const LossInput& diversity, int64_t epoch, int64_t step) {
  WeightedSum sum;
  for (const auto& term : terms) {
    const double weight = weight_at(term.weight, epoch, step);
    if (weight == 0) continue;

    const auto value = evaluate(
        term.name, find_loss(term.name).kind == LossKind::kBase ? base : diversity, term.options);
    sum.values.push_back({term.name, weight, value.detach()});
    sum.total = sum.total.defined() ? sum.total + weight * value : weight * value;
  }
  if (sum.total.defined()) return sum;

  // No term is on: the objective is 0, with the dtype and device of the logits.
  const auto& like = base.logits.defined() ? base.logits : diversity.logits;
  DISSENT_CHECK(like.defined(), kUsage,
                "weighted_sum: terms: expected one that is on, or logits; found neither");
  sum.total = at::zeros({}, like.options());
  return sum;
}

at::Tensor predicted_labels(const at::Tensor& logits) {
  check_outputs("predicted_labels", "logits", logits, 1);

  const at::NoGradGuard no_grad;
  return logits.mean(0).argmax(-1);
}

}  // namespace dissent::losses
