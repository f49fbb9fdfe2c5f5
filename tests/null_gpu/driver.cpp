// libcuda.so.1: what LibTorch calls where it compiles kernels at run time (NVRTC itself works
// without a device).
#include "null_gpu.hpp"

using namespace null_gpu;

extern "C" {

int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                   cudaStream_t stream, void**, void**) {
  return work_on(stream, Count::kLaunches, __func__);
}
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  *active = 1;
  return 0;
}
int cuCtxGetCurrent(void** context) {
  static int one;
  *context = &one;
  return 0;
}
int cuModuleLoadData(void** module, const void*) {
  static int one;
  *module = &one;
  return 0;
}
int cuModuleGetFunction(void** function, void*, const char*) {
  static int one;
  *function = &one;
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return cudaDeviceGetAttribute(value, static_cast<cudaDeviceAttr>(attribute), device);
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads,
                                                size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, shared);
}

}  // extern "C"
