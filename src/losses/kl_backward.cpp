#include <dissent/losses/kl_backward.hpp>

#include <limits>

#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor mean_prediction(const at::Tensor& logits) {
  check_outputs("mean_prediction", "logits", logits, 1);
  const at::NoGradGuard no_grad;
  return at::softmax(logits, -1).mean(at::IntArrayRef{0, 1});
}

at::Tensor kl_backward(const at::Tensor& logits, const at::Tensor& source_mean) {
  check_outputs("kl_backward", "logits", logits, 1);
  DISSENT_CHECK(source_mean.defined() && source_mean.dim() == 1 &&
                    source_mean.size(0) == logits.size(2) &&
                    source_mean.scalar_type() == logits.scalar_type() &&
                    source_mean.device() == logits.device(),
                kUsage, "kl_backward: source_mean: expected [{}] {} {}, found {}", logits.size(2),
                c10::toString(logits.scalar_type()), logits.device().str(), describe(source_mean));

  // 0 log 0 = 0: the clamp to the smallest normal number keeps value and gradient finite where a
  // class never occurs.
  const double smallest = logits.scalar_type() == at::kFloat ? std::numeric_limits<float>::min()
                                                             : std::numeric_limits<double>::min();
  const auto target = at::softmax(logits, -1).mean(1);  // [M, C]

  //   KL(t || s) = sum_c t_c (log t_c - log s_c)
  return (target *
          (target.clamp_min(smallest).log() - source_mean.detach().clamp_min(smallest).log()))
      .sum(-1)
      .mean();
}

LossInfo kl_backward_info() {
  return loss_info<NoOptions>(
      {.name = "kl_backward",
       .summary = "Keeps each member's mean prediction close to the ensemble's mean prediction on "
                  "the labelled batch",
       .formula = "mean over m of KL(mean over b of p_mb on the unlabelled batch || mean "
                  "prediction on the labelled batch)",
       .citation = "Lee, Yao and Finn, Diversify and Disambiguate, ICLR 2023",
       .kind = LossKind::kRegulariser,
       // The mean predictions are means over the batch inside a logarithm, and the one on the
       // labelled batch is that of the whole ensemble.
       .traits = {.needs = {Field::kLogits, Field::kUnlabelledLogits},
                  .exchanged = {Field::kLogits},
                  .nonlinear_in_batch = true,
                  .needs_labelled_and_unlabelled_batch = true}},
      OptionTable<NoOptions>("loss.kl_backward", "KL regulariser"),
      [](const LossInput& input, const NoOptions&) {
        return kl_backward(input.unlabelled_logits, mean_prediction(input.logits));
      });
}

}  // namespace dissent::losses
