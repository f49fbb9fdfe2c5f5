#define DISSENT_KERNELS_CUDA
#include <cuda_runtime.h>

#include "kernels/update_members_body.hpp"

namespace dissent::kernels {

int launch_update_members(const UpdateOptions& options, const UpdateArrays& arrays, void* stream) {
  if (arrays.count == 0 || arrays.size == 0) return cudaSuccess;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  prepare_members_kernel<<<static_cast<unsigned>(prepare_blocks(arrays.count)), kPrepareThreads, 0,
                           cuda_stream>>>(options.beta1, options.beta2, arrays);
  const dim3 grid(static_cast<unsigned>(update_blocks(arrays.size)),
                  static_cast<unsigned>(arrays.count));
  update_members_kernel<<<grid, kUpdateThreads, 0, cuda_stream>>>(update_numbers(options), arrays);
  return cudaGetLastError();
}

}  // namespace dissent::kernels
