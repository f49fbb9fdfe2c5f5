#pragma once
#include <dissent/scores/postprocessor.hpp>

namespace dissent::scores {

/// Rows over their L2 norm; a row of zeros stays as it is.
at::Tensor unit_rows(const at::Tensor& rows);

/// The state with block_rows, which has to be 1 or more.
State bank_state(const char* name, State state, int64_t block_rows);

}  // namespace dissent::scores
