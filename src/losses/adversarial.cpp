#include <dissent/losses/adversarial.hpp>

#include <limits>

#include "core/tensor_check.hpp"

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
  const auto scaled = scale == 1 ? loss : loss * scale;
  const auto slope = torch::autograd::grad({scaled}, {inputs}, {}, /*retain_graph=*/true,
                                           /*create_graph=*/false, /*allow_unused=*/true)[0];
  DISSENT_CHECK(
      slope.defined(), kUsage,
      "adversarial_inputs: loss: expected one that depends on the inputs, found one that does not");
  const at::NoGradGuard no_grad;
  if (overflow) *overflow = (slope * 0).sum();
  return inputs + slope.sign().mul_(epsilon);
}

}  // namespace dissent::losses
