#include <dissent/losses/cross_entropy.hpp>

#include "core/tensor_check.hpp"

#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double smoothing) {
  check_outputs("cross_entropy", "logits", logits, 1);
  check_labels("cross_entropy", "labels", labels, logits.size(1), logits.size(2), logits.device());
  check_range("cross_entropy", "smoothing", smoothing, 0, 1);

  //   -sum_c t_c log p_c  with  t = (1 - eps) onehot(y) + eps / C,
  // without the tensor t: the term of the label, and the mean over all classes.
  const auto log_p = at::log_softmax(logits, -1);
  const auto index = labels.unsqueeze(0).expand({logits.size(0), -1}).unsqueeze(-1);
  const auto of_label = log_p.gather(-1, index).squeeze(-1).neg();
  if (smoothing == 0) return of_label;
  return of_label * (1 - smoothing) - log_p.mean(-1) * smoothing;
}

at::Tensor above_threshold(const at::Tensor& logits, const at::Tensor& labels, double threshold) {
  check_outputs("above_threshold", "logits", logits, 1);
  check_labels("above_threshold", "labels", labels, logits.size(1), logits.size(2),
               logits.device());
  check_range("above_threshold", "threshold", threshold, 0, 1);

  // Whether every member gives the label more than the threshold.
  const at::NoGradGuard no_grad;
  const auto index = labels.unsqueeze(0).expand({logits.size(0), -1}).unsqueeze(-1);
  return at::softmax(logits, -1).gather(-1, index).squeeze(-1).gt(threshold).all(0);
}

namespace {

at::Tensor evaluate_cross_entropy(const LossInput& input, const CrossEntropyOptions& options) {
  // Logits of the product of experts: the sum of the members' log-probabilities, [1, B, C].
  const auto logits = options.output == CrossEntropyOutput::kProductOfExperts
                          ? at::log_softmax(input.logits, -1).sum(0, true)
                          : input.logits;
  return mean_over_members("cross_entropy", logits, input.labels,
                           [&](const auto& z, const auto& labels) {
                             return cross_entropy(z, labels, options.label_smoothing);
                           });
}

void adjust_cross_entropy(const CrossEntropyOptions& options, LossTraits& traits) {
  if (options.output == CrossEntropyOutput::kProductOfExperts) traits.exchanged = {Field::kLogits};
}

}  // namespace

LossInfo cross_entropy_info() {
  const auto keys =
      OptionTable<CrossEntropyOptions>("loss.cross_entropy", "Cross-entropy")
          .option("label_smoothing", &CrossEntropyOptions::label_smoothing,
                  {.meaning = "amount of label smoothing, eps", .min = 0, .max = 1})
          .choice("output", &CrossEntropyOptions::output,
                  {{"members", CrossEntropyOutput::kMembers},
                   {"product_of_experts", CrossEntropyOutput::kProductOfExperts}},
                  "cross-entropy of each member, or of the product of experts (sum of the "
                  "members' log-probabilities)");

  return loss_info<CrossEntropyOptions>(
      {.name = "cross_entropy",
       .summary = "Cross-entropy of each member, optionally against smoothed labels",
       .formula = "mean over m, b of -sum_c t_bc log softmax(z_mb)_c,  t = (1 - eps) onehot(y) "
                  "+ eps / C",
       .citation = "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, "
                   "CVPR 2016 (smoothing)",
       .kind = LossKind::kBase,
       // With the default output no member reads another one, so nothing is exchanged.
       .traits = {.needs = {Field::kLogits, Field::kLabels}},
       .traits_note = "output = product_of_experts: ranks exchange logits, and all members train "
                      "on the same batch"},
      keys, evaluate_cross_entropy, adjust_cross_entropy);
}

}  // namespace dissent::losses
