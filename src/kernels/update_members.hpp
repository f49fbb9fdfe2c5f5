#pragma once
#include <ATen/core/Tensor.h>

#include "kernels/update_rule.hpp"

namespace dissent::kernels {

/// Most members of one update: the second dimension of a CUDA grid.
constexpr int64_t kMaxUpdateMembers = 65535;

/// One optimiser step of n members of a stack, each element read and written once.
/// values, first, second [m, P] f32 (first: first moment or momentum; undefined where the rule has
/// none); steps [m] f32: steps taken, this one included; slots [n] i64: positions in the stack,
/// each at most once; gradient [n, P] f32; rates, scales [n] f64: learning rate and factor of the
/// gradient; a member whose scale is negative is left as it is. All contiguous and on one device:
/// the CPU (a plain loop) or CUDA (two kernels, update_members_body.hpp, on the current stream of
/// that device; nothing is waited for or copied to the host, so a CUDA graph may record it).
///
/// n <= kMaxUpdateMembers; P a multiple of 4; values, first, second and gradient aligned to 16
/// bytes, which a thread reads at once. Throws Error::kInternal, which names the tensor, what was
/// expected and what was found, where one of these does not hold (slots are not read); kUsage for
/// a device that this build has no code for; kComm where a kernel cannot be started.
void update_members(const UpdateOptions& options, const at::Tensor& values, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& steps, const at::Tensor& slots,
                    const at::Tensor& gradient, const at::Tensor& rates, const at::Tensor& scales);

}  // namespace dissent::kernels
