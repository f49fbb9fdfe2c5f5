#include <dissent/losses/oe.hpp>

#include "core/tensor_check.hpp"

#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor oe(const at::Tensor& logits) {
  check_outputs("oe", "logits", logits, 1);
  // Mean over samples first, as in mean_over_members: the same bits on every split of the members.
  return (at::logsumexp(logits, -1) - logits.mean(-1)).mean(1).mean();
}

LossInfo oe_info() {
  return loss_info<NoOptions>(
      {.name = "oe",
       .summary = "Outlier exposure: near-uniform predictions on samples that belong to no class",
       .formula = "mean over m, b of log sum_c exp z_c - mean over c of z_c",
       .citation = "Hendrycks et al., Deep Anomaly Detection with Outlier Exposure, ICLR 2019",
       .kind = LossKind::kRegulariser,
       .traits = {.needs = {Field::kUnlabelledLogits}, .needs_outliers = true}},
      OptionTable<NoOptions>("loss.oe", "Outlier exposure"),
      [](const LossInput& input, const NoOptions&) { return oe(input.unlabelled_logits); });
}

}  // namespace dissent::losses
