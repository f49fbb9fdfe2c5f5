#include "cli/verify_device.hpp"

#include <limits>

namespace dissent::cli {

// In f64 the CPU's largest difference takes 0.0016 of the case's own tolerance: room enough for a
// device's other orders of sums, so nothing is added. In f32 the numbers are 2 to 7 times what the
// CPU's f32 gives on the same cases (tests/reference/verify_test.cpp holds it to them), for other
// orders of sums and a device's exp and log, which are off by up to 2 units in the last place.
const std::vector<DeviceRule>& device_rules() {
  constexpr double kUnit = std::numeric_limits<float>::epsilon();
  const std::string own = "f64 as on the CPU: the case's own tolerance",
                    sums = "f32: sums in another order",
                    sure = "f32: of 1 - p little is left where a member is sure";
  static const std::vector<DeviceRule> table = {
      {"loss", "", at::kDouble, 0, own},
      {"loss", "", at::kFloat, 64 * kUnit, sums + ", and those of gradients"},
      {"loss", "a2d", at::kDouble, 0, own},
      {"loss", "a2d", at::kFloat, 262144 * kUnit, sure},
      {"loss", "sed_total", at::kDouble, 0, own},
      {"loss", "sed_total", at::kFloat, 32768 * kUnit, sure + " (A2D)"},
      {"loss", "gradcam", at::kDouble, 0, own},
      {"loss", "gradcam", at::kFloat, 256 * kUnit, "f32: maps are divided by their deviation"},
      {"loss", "gradcam_small_logits_expcosine", at::kDouble, 0, own},
      {"loss", "gradcam_small_logits_expcosine", at::kFloat, 1024 * kUnit,
       "f32: a change of its inputs by x moves its gradient by up to 480 x"},
      {"weight", "", at::kDouble, 0, own},
      {"weight", "", at::kFloat, 16 * kUnit, sums},
      {"score", "", at::kDouble, 0, own},
      {"postprocessor", "", at::kDouble, 0, own},
      {"network", "", at::kDouble, 0, own},
      {"network", "", at::kFloat, 32 * kUnit, sums + ", layer after layer"},
      {"network", "sed_member", at::kDouble, 0, own},
      {"network", "sed_member", at::kFloat, 64 * kUnit,
       "f32: LayerNorm divides rows that are nearly constant by their deviation"},
      {"network", "resnet18_224_train", at::kDouble, 0, own},
      {"network", "resnet18_224_train", at::kFloat, 128 * kUnit,
       sums + ", and a division by the deviation of few values in each BatchNorm"},
      // No f32: changing its inputs by 1e-7 takes the input of a ReLU to the other side of 0, and
      // its gradient jumps by 1.3% of its largest value.
      {"network", "resnet18_32_train", at::kDouble, 0, own},
      {"step", "", at::kDouble, 0, own},
      {"step", "", at::kFloat, 8 * kUnit, sums + ", step after step"},
      {"step", "sed_train", at::kFloat, 128 * kUnit,
       "f32, the one arithmetic of a stack's update: " + sums.substr(5) + ", step after step"},
      {"step", "step_adamw_wd", at::kFloat, 1024 * kUnit,
       "f32: a change of its inputs by x moves a weight by up to 280 x: AdamW divides by the root "
       "of small gradients"},
  };
  return table;
}

std::vector<const DeviceRule*> rules_of(const Case& reference) {
  std::vector<const DeviceRule*> of_key, of_name, others;
  for (const auto& rule : device_rules()) {
    if (rule.kind != reference.kind) continue;
    if (rule.name == reference.key) of_key.push_back(&rule);
    if (rule.name == reference.name) of_name.push_back(&rule);
    if (rule.name.empty()) others.push_back(&rule);
  }
  return !of_key.empty() ? of_key : !of_name.empty() ? of_name : others;
}

Tolerance device_tolerance(const Case& reference, const DeviceRule& rule) {
  return {reference.rtol, reference.atol, rule.of_largest};
}

Case on_device(const Case& reference, at::Device device, at::ScalarType arithmetic) {
  Case moved = reference;
  moved.host_in = reference.in;
  moved.as_device = true;
  moved.device = device;
  moved.arithmetic = arithmetic;
  for (auto& [name, tensor] : moved.in)
    tensor = tensor.to(device, tensor.is_floating_point() ? arithmetic : tensor.scalar_type());
  return moved;
}

}  // namespace dissent::cli
