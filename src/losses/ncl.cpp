#include <dissent/losses/ncl.hpp>
#include <dissent/losses/similarity.hpp>

#include "core/tensor_check.hpp"

#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor ncl(const at::Tensor& logits) {
  check_outputs("ncl", "logits", logits, 2);

  // The mean is a constant: the derivative moves each member relative to it, not the mean itself.
  const auto p = at::softmax(logits, -1);
  return similarity(p - p.detach().mean(0, true), Similarity::kDot);
}

LossInfo ncl_info() {
  return loss_info<NoOptions>(
      {.name = "ncl",
       .summary = "Negative correlation: the members' deviations from their mean should cancel out",
       .formula = "mean over b, i != j of <p_i - p, p_j - p>,  p the mean of the members, constant",
       .citation = "Liu and Yao, Ensemble learning via negative correlation, Neural Networks 1999",
       .kind = LossKind::kDiversity,
       .traits = {.needs = {Field::kLogits}, .exchanged = {Field::kLogits}, .min_members = 2}},
      OptionTable<NoOptions>("loss.ncl", "NCL"),
      [](const LossInput& input, const NoOptions&) { return ncl(input.logits); });
}

}  // namespace dissent::losses
