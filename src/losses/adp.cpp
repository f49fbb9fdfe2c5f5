#include <dissent/losses/adp.hpp>
#include <dissent/losses/similarity.hpp>

#include <limits>

#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor adp(const at::Tensor& logits, const at::Tensor& labels, const AdpOptions& options) {
  check_outputs("adp", "logits", logits, 1);
  check_labels("adp", "labels", labels, logits.size(1), logits.size(2), logits.device());
  check_range("adp", "alpha", options.alpha, 0, std::numeric_limits<double>::max());
  check_range("adp", "beta", options.beta, 0, std::numeric_limits<double>::max());

  const auto p = at::softmax(logits, -1);
  const auto q = p.mean(0);

  // The vectors of wrong classes: setting the label's entry to 0 gives the same norms and products
  // as removing it, and keeps the shape.
  const auto target =
      at::arange(logits.size(2), labels.options()).eq(labels.unsqueeze(1));  // [B, C]
  const auto others = similarity(p.masked_fill(target, 0), Similarity::kLogDet);

  // alpha times the negative entropy of the mean prediction, and beta times -log det, which
  // similarity() returns with its sign.
  return (q * (q + kAdpLogEps).log()).sum(-1).mean() * options.alpha + others * options.beta;
}

LossInfo adp_info() {
  return loss_info<AdpOptions>(
      {.name = "adp",
       .summary = "Keeps the mean prediction uncertain and makes the members' probabilities of "
                  "wrong classes differ",
       .formula = "mean over b of alpha sum_c q_c log(q_c + 1e-20) - beta log det(V V^T + 1e-5 "
                  "I),  V the members' normalised probabilities of wrong classes",
       .citation = "Pang et al., Improving Adversarial Robustness via Promoting Ensemble "
                   "Diversity, ICML 2019",
       .kind = LossKind::kDiversity,
       .traits = {.needs = {Field::kLogits, Field::kLabels}, .exchanged = {Field::kLogits}}},
      OptionTable<AdpOptions>("loss.adp", "ADP")
          .option("alpha", &AdpOptions::alpha,
                  {.meaning = "weight of the negative entropy of the mean prediction", .min = 0})
          .option("beta", &AdpOptions::beta,
                  {.meaning = "weight of the negative log-determinant", .min = 0}),
      [](const LossInput& input, const AdpOptions& options) {
        return adp(input.logits, input.labels, options);
      });
}

}  // namespace dissent::losses
