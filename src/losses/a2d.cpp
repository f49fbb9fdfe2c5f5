#include <dissent/losses/a2d.hpp>

#include "core/tensor_check.hpp"

namespace dissent::losses {

at::Tensor a2d(const at::Tensor& logits, int64_t m) {
  check_outputs("a2d", "logits", logits, 2);
  return a2d_probabilities(at::softmax(logits, -1), m);
}

at::Tensor a2d_probabilities(const at::Tensor& probabilities, int64_t m) {
  check_outputs("a2d", "probabilities", probabilities, 2);
  const int64_t members = probabilities.size(0), rows = probabilities.size(1),
                classes = probabilities.size(2);
  check_index("a2d", "m", m, members);

  const auto options = at::TensorOptions(at::kLong).device(probabilities.device());
  auto other =
      at::arange(members - 1, options)
          .unsqueeze(1);  // [M-1, 1], made on the device: a step may be recorded as a CUDA graph
  other = other + other.ge(m);
  const auto row = at::arange(rows, options).unsqueeze(0);                               // [1, B]
  const auto top = probabilities.detach().argmax(-1).index_select(0, other.squeeze(1));  // [M-1, B]

  // Both reads in one: its backward fills one tensor of the size of the probabilities. Not take():
  // that has no deterministic derivative on a GPU (runtime.deterministic).
  const auto of_others = (other * rows + row) * classes + top;
  const auto of_m = (row + m * rows) * classes + top;
  const auto read = probabilities.reshape({-1})
                        .index_select(0, at::stack({of_others, of_m}).view({-1}))
                        .view({2, members - 1, rows});
  const auto p = read.select(0, 0), q = read.select(0, 1);
  return -(p * (1 - q) + q * (1 - p) + kA2dEps).log().mean(0);
}

}  // namespace dissent::losses
