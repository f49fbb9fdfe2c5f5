#pragma once
#include <cstdint>

#include "kernels/update_rule.hpp"

// The kernels of update_members.cu. The host compiler accepts them too, if blockIdx, blockDim and
// threadIdx are declared before (tests/cuda_shim.hpp).
#ifdef __CUDACC__
#define DISSENT_KERNEL static __global__
#else
#define DISSENT_KERNEL inline
#endif

namespace dissent::kernels {

constexpr int kPrepareThreads = 128;
constexpr int kUpdateThreads = 256;

/// The neighbouring elements of one thread: one 16-byte access.
struct alignas(16) Elements {
  static constexpr int kCount = 4;
  float at[kCount];
};

constexpr int64_t ceil_div(int64_t number, int64_t by) { return (number + by - 1) / by; }

/// Blocks of prepare_members_kernel.
constexpr int64_t prepare_blocks(int64_t count) { return ceil_div(count, kPrepareThreads); }
/// Blocks of update_members_kernel for one member (grid x; grid y is the number of members).
constexpr int64_t update_blocks(int64_t size) {
  return ceil_div(size, int64_t{kUpdateThreads} * Elements::kCount);
}

/// Computes arrays.members, one thread per member. All f64 arithmetic of an update is here.
DISSENT_KERNEL void prepare_members_kernel(double beta1, double beta2, UpdateArrays arrays) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < arrays.count) arrays.members[i] = member_numbers(arrays, beta1, beta2, i);
}

/// The update: one block handles 1,024 neighbouring elements of the member at position blockIdx.y.
/// The loads of elements depend only on the member's numbers, so they are in flight together.
DISSENT_KERNEL void update_members_kernel(UpdateNumbers numbers, UpdateArrays arrays) {
  const int64_t i = blockIdx.y;
  const int64_t e =
      (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * Elements::kCount;
  if (e >= arrays.size) return;

  // A member that is skipped: all threads of its blocks end here.
  const MemberNumbers member = arrays.members[i];
  if (member.offset < 0) return;

  const int64_t at = member.offset + e;
  const Elements g = *reinterpret_cast<const Elements*>(arrays.gradient + i * arrays.size + e);

  Elements p = *reinterpret_cast<Elements*>(arrays.values + at), m{}, v{};
  if (arrays.first) m = *reinterpret_cast<Elements*>(arrays.first + at);
  if (arrays.second) v = *reinterpret_cast<Elements*>(arrays.second + at);

  for (int k = 0; k < Elements::kCount; ++k)
    update_element(numbers, member, &p.at[k], &m.at[k], &v.at[k], g.at[k]);
  *reinterpret_cast<Elements*>(arrays.values + at) = p;
  if (arrays.first) *reinterpret_cast<Elements*>(arrays.first + at) = m;
  if (arrays.second) *reinterpret_cast<Elements*>(arrays.second + at) = v;
}

}  // namespace dissent::kernels
