#define DISSENT_KERNELS_CUDA
#include <cuda_runtime.h>

#include "kernels/update_rule.hpp"

namespace dissent::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kElementsOfThread = 4;  // one 16-byte access; P is a multiple of 16

// One block: 1,024 neighbouring elements of one member (blockIdx.y).
__global__ void update(UpdateNumbers shared, double beta1, double beta2, float* values,
                       float* first, float* second, const float* steps, const int64_t* slots,
                       const float* gradient, const double* rates, const double* scales,
                       int64_t size) {
  const int64_t i = blockIdx.y, slot = slots[i];
  if (scales[i] < 0) return;
  __shared__ UpdateNumbers numbers;
  if (threadIdx.x == 0)
    numbers = with_member(shared, beta1, beta2, steps[slot], rates[i], scales[i]);
  __syncthreads();
  const int64_t e = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kElementsOfThread;
  if (e >= size) return;
  const int64_t at = slot * size + e;
  float4 p = *reinterpret_cast<float4*>(values + at);
  const float4 g = *reinterpret_cast<const float4*>(gradient + i * size + e);
  float4 m = first ? *reinterpret_cast<float4*>(first + at) : float4{};
  float4 v = second ? *reinterpret_cast<float4*>(second + at) : float4{};
  update_element(numbers, &p.x, &m.x, &v.x, g.x);
  update_element(numbers, &p.y, &m.y, &v.y, g.y);
  update_element(numbers, &p.z, &m.z, &v.z, g.z);
  update_element(numbers, &p.w, &m.w, &v.w, g.w);
  *reinterpret_cast<float4*>(values + at) = p;
  if (first) *reinterpret_cast<float4*>(first + at) = m;
  if (second) *reinterpret_cast<float4*>(second + at) = v;
}

}  // namespace

int launch_update_members(const UpdateNumbers& numbers, double beta1, double beta2, float* values,
                          float* first, float* second, const float* steps, const int64_t* slots,
                          const float* gradient, const double* rates, const double* scales,
                          int64_t members, int64_t size, void* stream) {
  if (members == 0) return 0;
  const int64_t elements = kThreads * kElementsOfThread;
  const dim3 grid(static_cast<unsigned>((size + elements - 1) / elements),
                  static_cast<unsigned>(members));
  update<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      numbers, beta1, beta2, values, first, second, steps, slots, gradient, rates, scales, size);
  return cudaGetLastError();
}

}  // namespace dissent::kernels
