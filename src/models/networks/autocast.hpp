#pragma once
#include <ATen/autocast_mode.h>

namespace dissent {

/// While it lives, products of this thread are computed in half precision (f16, bf16); no effect
/// for f32 and f64.
class Autocast {
 public:
  Autocast(at::DeviceType device, at::ScalarType dtype)
      : device_(device), on_(dtype != at::kFloat && dtype != at::kDouble) {
    if (!on_) return;
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::set_autocast_dtype(device_, dtype);
    at::autocast::set_autocast_cache_enabled(
        false);  // each weight is used once, and the cache is shared by all threads
  }
  ~Autocast() {
    if (on_) at::autocast::set_autocast_enabled(device_, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType device_;
  bool on_;
};

}  // namespace dissent
