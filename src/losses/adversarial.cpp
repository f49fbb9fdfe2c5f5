#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/cross_entropy.hpp>

#include <limits>

#include "core/tensor_check.hpp"
#include "losses/loss_info.hpp"

namespace dissent::losses {

at::Tensor adversarial_inputs(const at::Tensor& loss, const at::Tensor& inputs, double epsilon,
                              double scale, at::Tensor* overflow) {
  DISSENT_CHECK(
      inputs.defined() && inputs.requires_grad() && at::isFloatingType(inputs.scalar_type()),
      kUsage,
      "adversarial_inputs: inputs: expected a floating-point tensor that requires a gradient, "
      "found "
      "{}{}",
      describe(inputs), inputs.defined() && !inputs.requires_grad() ? " without one" : "");

  DISSENT_CHECK(loss.defined() && loss.dim() == 0 && loss.requires_grad(), kUsage,
                "adversarial_inputs: loss: expected a scalar computed from the inputs, found {}",
                describe(loss));

  check_range("adversarial_inputs", "epsilon", epsilon, 0, std::numeric_limits<double>::max());
  check_range("adversarial_inputs", "scale", scale, std::numeric_limits<double>::min(),
              std::numeric_limits<double>::max());

  // The graph is kept: the caller still needs it for the backward pass of the loss itself.
  const auto scaled = scale == 1 ? loss : loss * scale;
  const auto slope = torch::autograd::grad({scaled}, {inputs}, {}, /*retain_graph=*/true,
                                           /*create_graph=*/false, /*allow_unused=*/true)[0];
  DISSENT_CHECK(
      slope.defined(), kUsage,
      "adversarial_inputs: loss: expected one that depends on the inputs, found one that does not");

  // The moved inputs are constants: no second derivative is taken through the sign.
  const at::NoGradGuard no_grad;
  if (overflow) *overflow = (slope * 0).sum();  // 0, or NaN where a derivative is not finite
  return inputs + slope.sign().mul_(epsilon);
}

LossInfo adversarial_cross_entropy_info() {
  return loss_info<AdversarialOptions>(
      {.name = "adversarial_cross_entropy",
       .summary = "Cross-entropy on inputs moved by one signed gradient step of the base loss",
       .formula =
           "mean over m, b of -log softmax(z'_mb)_y,  z' at x + epsilon sign(d base loss / dx)",
       .citation = "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty "
                   "Estimation using Deep Ensembles, NeurIPS 2017",
       .kind = LossKind::kBase,
       // The trainer makes the second forward pass, since only it has the networks.
       .traits = {.needs = {Field::kAdversarialLogits, Field::kLabels},
                  .needs_moved_inputs = true}},
      OptionTable<AdversarialOptions>("loss.adversarial_cross_entropy", "Adversarial training")
          .option(
              "epsilon", &AdversarialOptions::epsilon,
              {.meaning = "length of the step, in the unit of the normalised inputs", .min = 0}),
      [](const LossInput& input, const AdversarialOptions&) {
        return mean_over_members(
            "adversarial_cross_entropy", input.adversarial_logits, input.labels,
            [](const auto& logits, const auto& labels) { return cross_entropy(logits, labels); });
      });
}

}  // namespace dissent::losses
