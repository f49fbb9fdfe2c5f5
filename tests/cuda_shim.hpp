#pragma once

// What the body of a CUDA kernel needs of CUDA to be compiled and run by the host: include this,
// then the header of the kernel. There is no __shared__ and no __syncthreads: the threads of a
// block run one after the other, and no kernel so far has them wait for each other.
namespace dissent::testing {
struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};
}  // namespace dissent::testing

inline thread_local dissent::testing::Dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace dissent::testing {

/// kernel<<<grid, block>>>(arguments...) on the calling thread. Counts of x and y alone.
template <class Kernel, class... Arguments>
void run_kernel(Kernel* kernel, Dim3 grid, Dim3 block, const Arguments&... arguments) {
  gridDim = grid;
  blockDim = block;
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
      for (threadIdx.y = 0; threadIdx.y < block.y; ++threadIdx.y)
        for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x) kernel(arguments...);
}

}  // namespace dissent::testing
