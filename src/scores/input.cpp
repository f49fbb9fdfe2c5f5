#include <dissent/scores/input.hpp>

#include "core/tensor_check.hpp"

namespace dissent::scores {

at::Tensor probabilities(const at::Tensor& outputs, InputKind kind) {
  return kind == InputKind::kLogits ? at::softmax(outputs, -1) : outputs;
}

at::Tensor entropy(const at::Tensor& p) { return at::xlogy(p, p).sum(-1).neg(); }

}  // namespace dissent::scores
