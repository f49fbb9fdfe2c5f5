#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/logit_norm.hpp>

#include <cmath>

#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"
#include "losses/root.hpp"

namespace dissent::losses {

at::Tensor logit_norm(const at::Tensor& logits, const at::Tensor& labels,
                      const LogitNormOptions& options) {
  check_outputs("logit_norm", "logits", logits, 1);
  check_labels("logit_norm", "labels", labels, logits.size(1), logits.size(2), logits.device());
  DISSENT_CHECK(options.tau > 0 && std::isfinite(options.tau), kUsage,
                "logit_norm: tau: expected a number > 0, found {}", options.tau);

  // root() has derivative 0 at 0, where that of sqrt is infinite: logits may all be 0 at the start.
  const auto norm = root(logits.square().sum(-1, true));
  return cross_entropy(logits / ((norm + kLogitNormEps) * options.tau), labels);
}

LossInfo logit_norm_info() {
  return loss_info<LogitNormOptions>(
      {.name = "logit_norm",
       .summary = "Cross-entropy of logits that are normalised to length 1 / tau",
       .formula = "mean over m, b of -log softmax(z_mb / (|z_mb| + 1e-7) / tau)_y",
       .citation = "Wei et al., Mitigating Neural Network Overconfidence with Logit "
                   "Normalization, ICML 2022",
       .kind = LossKind::kBase,
       .traits = {.needs = {Field::kLogits, Field::kLabels}}},
      OptionTable<LogitNormOptions>("loss.logit_norm", "LogitNorm")
          .option("tau", &LogitNormOptions::tau,
                  {.meaning = "temperature, > 0 (SDDE: 0.04)", .min = 1e-6}),
      [](const LossInput& input, const LogitNormOptions& options) {
        return mean_over_members("logit_norm", input.logits, input.labels,
                                 [&](const auto& logits, const auto& labels) {
                                   return logit_norm(logits, labels, options);
                                 });
      });
}

}  // namespace dissent::losses
