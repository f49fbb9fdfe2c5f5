#pragma once
#include <cstdint>

#include <dissent/scores/postprocessor.hpp>

namespace dissent::scores {

/// Rows divided by their L2 norm; a row of zeros is not changed.
at::Tensor unit_rows(const at::Tensor& rows);

/// Adds block_rows to the state. Error::kUsage naming the post-processor if it is below 1.
State bank_state(const char* name, State state, int64_t block_rows);

}  // namespace dissent::scores
