#include "evaluate/values/reduce.hpp"

#include "core/tensor_check.hpp"

namespace dissent {

at::Tensor merged_state(Communicator& comm, at::Tensor state) {
  DISSENT_CHECK(state.defined() && state.scalar_type() == at::kLong && state.is_contiguous() &&
                    state.device().is_cpu(),
                kUsage, "merged_state: state: expected contiguous Long cpu, found {}",
                describe(state));

  // all_reduce() works in place, and the state is the caller's.
  state = state.clone();
  comm.all_reduce(state, ReduceOp::kSum);
  return state;
}

}  // namespace dissent
