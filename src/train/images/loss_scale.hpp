#pragma once
#include <algorithm>
#include <cstdint>

namespace dissent {

/// Factor of the loss in f16, so that small derivatives do not underflow: halved when a gradient is
/// not finite (the step is skipped), doubled after 2000 successive steps with finite gradients.
/// Ref: torch.amp.GradScaler with its defaults
struct LossScale {
  bool active = false;
  double value = 1;  ///< 65536 at the start, if active
  int64_t good_steps = 0;

  void start() {
    active = true;
    value = 65536;
  }
  /// Factor of outputs that are differentiated with respect to maps or images. Their derivative
  /// with respect to the logits is up to 1, that of a loss at most 1 / (members x rows). So the
  /// factor is 2^-8 of that of the loss, and never above its initial value, since the largest f16
  /// is 65504.
  double of_outputs() const { return active ? std::min(value, 65536.0) / 256 : 1; }
  void observe(bool finite) {
    if (!active) return;
    if (!finite) {
      value /= 2;
      good_steps = 0;
    } else if (++good_steps == 2000) {
      value *= 2;
      good_steps = 0;
    }
  }
};

}  // namespace dissent
