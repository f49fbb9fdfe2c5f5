#pragma once
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "kernels/update_rule.hpp"

namespace dissent::kernels {

/// Maximum number of members in one update: the limit of a CUDA grid's second dimension.
constexpr int64_t kMaxUpdateMembers = 65535;

/// One optimiser step of n members of a stack; each element is read and written once.
/// values, first, second [m, P] f32 (first: first moment or momentum; undefined if the rule has
/// none); steps [m] f32: steps taken, including this one; slots [n] i64: positions in the stack,
/// each at most once; gradient [n, P] f32; rates, scales [n] f64: learning rate and factor of the
/// gradient; a member with a negative scale is not changed. All contiguous and on one device: the
/// CPU (a plain loop) or CUDA (two kernels, update_members_body.hpp, on the device's current
/// stream; no synchronisation and no copy to the host, so it can be captured in a CUDA graph).
///
/// n <= kMaxUpdateMembers; P a multiple of 4; values, first, second and gradient aligned to 16
/// bytes, the size of one access.
/// Throws Error::kInternal with tensor, expected and found if one of these does not hold (slots are
/// not read); kUsage for a device that this build has no code for; kComm if a kernel cannot be
/// started.
void update_members(const UpdateOptions& options, const at::Tensor& values, const at::Tensor& first,
                    const at::Tensor& second, const at::Tensor& steps, const at::Tensor& slots,
                    const at::Tensor& gradient, const at::Tensor& rates, const at::Tensor& scales);

}  // namespace dissent::kernels
