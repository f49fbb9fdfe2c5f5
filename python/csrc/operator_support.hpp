#pragma once
#include <ATen/ATen.h>

#include <dissent/error.hpp>
#include <dissent/losses/member_inputs.hpp>

#include <optional>
#include <vector>

// What all operators of the package share.
namespace dissent::python {

using MaybeTensor = std::optional<at::Tensor>;

inline at::Tensor or_undefined(const MaybeTensor& tensor) { return tensor.value_or(at::Tensor()); }

/// Runs a loss in the dtype of its arguments, also under autocast. A wrong argument becomes a
/// ValueError of Python, any other error a RuntimeError.
template <class Loss>
auto run(Loss loss) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  try {
    return loss();
  } catch (const Error& error) {
    TORCH_CHECK_VALUE(error.kind() != ErrorKind::kUsage, error.what());
    TORCH_CHECK(false, error.what());
  }
}

/// One tensor per member, or one stacked tensor of all members.
inline losses::MemberInputs member_inputs(const std::vector<at::Tensor>& tensors, bool stacked) {
  DISSENT_CHECK(!stacked || tensors.size() == 1, kUsage,
                "stacked: expected one tensor of all members, found {}", tensors.size());
  return stacked ? losses::MemberInputs::stacked(tensors[0]) : losses::MemberInputs::each(tensors);
}

}  // namespace dissent::python
