#include "scores/bank.hpp"

#include <cstdint>

#include "core/tensor_check.hpp"

namespace dissent::scores {

at::Tensor unit_rows(const at::Tensor& rows) {
  // A zero row stays 0 instead of becoming NaN.
  const auto norm = rows.norm(2, {1}, true);
  return rows / norm.masked_fill(norm.eq(0), 1);
}

State bank_state(const char* name, State state, int64_t block_rows) {
  DISSENT_CHECK(block_rows >= 1, kUsage, "{}: block_rows: expected 1 or more, found {}", name,
                block_rows);
  state["block_rows"] = at::scalar_tensor(block_rows, at::kLong);
  return state;
}

}  // namespace dissent::scores
