#pragma once
#include <ATen/ATen.h>

namespace dissent::losses {

/// Square root whose derivatives of every order are 0 at 0, for norms and standard deviations.
/// square >= 0.
inline at::Tensor root(const at::Tensor& square) {
  const auto zero = square.eq(0);
  return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0);
}

}  // namespace dissent::losses
