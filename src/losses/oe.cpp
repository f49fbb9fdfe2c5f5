#include <dissent/losses/oe.hpp>

#include "core/tensor_check.hpp"

namespace dissent::losses {

at::Tensor oe(const at::Tensor& logits) {
  check_outputs("oe", "logits", logits, 1);
  return (at::logsumexp(logits, -1) - logits.mean(-1))
      .mean(1)
      .mean();  // in the order of cross-entropy (registry.cpp)
}

}  // namespace dissent::losses
