#include "verify/device.hpp"

#include <limits>

namespace dissent::verify {

// In f64 the largest difference on the CPU is 0.0016 of the tolerance of its case. That leaves
// enough room for a device's order of summation, so nothing is added. In f32 the values are 2 to 7
// times the largest difference of the CPU's f32 on the same cases
// (tests/unit/verify/verify_test.cpp checks that), to allow for another order of summation and for
// a device's exp and log, whose errors reach 2 units in the last place.
const std::vector<DeviceRule>& device_rules() {
  constexpr double kUnit = std::numeric_limits<float>::epsilon();
  const std::string own = "f64 as on the CPU: the tolerance of the case",
                    sums = "f32: another order of summation",
                    sure = "f32: 1 - p loses digits where a member is certain";

  static const std::vector<DeviceRule> table = {
      {"loss", "", at::kDouble, 0, own},
      {"loss", "", at::kFloat, 64 * kUnit, sums + ", in gradients too"},
      {"loss", "a2d", at::kDouble, 0, own},
      {"loss", "a2d", at::kFloat, 262144 * kUnit, sure},
      {"loss", "sed_total", at::kDouble, 0, own},
      {"loss", "sed_total", at::kFloat, 32768 * kUnit, sure + " (A2D)"},
      {"loss", "gradcam", at::kDouble, 0, own},
      {"loss", "gradcam", at::kFloat, 256 * kUnit,
       "f32: maps are divided by their standard deviation"},
      {"loss", "gradcam_small_logits_expcosine", at::kDouble, 0, own},
      {"loss", "gradcam_small_logits_expcosine", at::kFloat, 1024 * kUnit,
       "f32: a change x of its inputs changes its gradient by up to 480 x"},
      {"weight", "", at::kDouble, 0, own},
      {"weight", "", at::kFloat, 16 * kUnit, sums},
      {"score", "", at::kDouble, 0, own},
      {"postprocessor", "", at::kDouble, 0, own},
      {"network", "", at::kDouble, 0, own},
      {"network", "", at::kFloat, 32 * kUnit, sums + " in each layer"},
      {"network", "sed_member", at::kDouble, 0, own},
      {"network", "sed_member", at::kFloat, 64 * kUnit,
       "f32: LayerNorm divides nearly constant rows by their standard deviation"},
      {"network", "resnet18_224_train", at::kDouble, 0, own},
      {"network", "resnet18_224_train", at::kFloat, 128 * kUnit,
       sums + ", and BatchNorm divides by the standard deviation of few values"},
      // No f32: changing its inputs by 1e-7 changes the sign of a ReLU's input, and its gradient
      // jumps by 1.3 % of its largest value.
      {"network", "resnet18_32_train", at::kDouble, 0, own},
      {"step", "", at::kDouble, 0, own},
      {"step", "", at::kFloat, 8 * kUnit, sums + " in each step"},
      {"step", "sed_train", at::kFloat, 128 * kUnit,
       "f32, the only arithmetic of a stack's update: " + sums.substr(5) + " in each step"},
      {"step", "step_adamw_wd", at::kFloat, 1024 * kUnit,
       "f32: a change x of its inputs changes a weight by up to 280 x: AdamW divides by the "
       "square root of small squared gradients"},
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

  // The most specific rules win.
  if (!of_key.empty()) return of_key;
  return of_name.empty() ? others : of_name;
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

  // Labels and indices keep their integer dtype.
  for (auto& [name, tensor] : moved.in)
    tensor = tensor.to(device, tensor.is_floating_point() ? arithmetic : tensor.scalar_type());
  return moved;
}

}  // namespace dissent::verify
