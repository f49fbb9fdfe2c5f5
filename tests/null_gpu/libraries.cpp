// cuBLAS, cuBLASLt and cuSOLVER: calls that would compute count as a launch on the handle's
// stream. The functions that are not here are made by make_stubs.
#include <cstdint>
#include <cstdlib>

#include "libraries.hpp"

using namespace null_gpu;

namespace {
struct Handle {
  cudaStream_t stream = nullptr;
  char rest[248] = {};  // a field of a descriptor is read as 0
};
}  // namespace

extern "C" {

int null_gpu_create(void** handle) {
  *handle = std::calloc(1, sizeof(Handle));
  return 0;
}
int null_gpu_launch(void* handle, const char* call) {
  const auto stream = handle ? static_cast<Handle*>(handle)->stream : nullptr;
  return work_on(stream, Count::kLaunches, call);
}

int cublasSetStream_v2(void* handle, cudaStream_t stream) {
  static_cast<Handle*>(handle)->stream = stream;
  return 0;
}
int cusolverDnSetStream(void* handle, cudaStream_t stream) {
  return cublasSetStream_v2(handle, stream);
}
int cusparseSetStream(void* handle, cudaStream_t stream) {
  return cublasSetStream_v2(handle, stream);
}
int cublasGetMathMode(void*, int* mode) { return *mode = 0; }
int cublasGetPointerMode_v2(void*, int* mode) { return *mode = 0; }
int cublasGetVersion_v2(void*, int* version) {
  *version = 130000;
  return 0;
}
size_t cublasLtGetVersion() { return 130000; }

int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*,
                                   int* found) {
  *found = 1;
  return 0;
}
int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                   const void*, void*, void*, void*, const void*, void*, size_t,
                   cudaStream_t stream) {
  return work_on(stream, Count::kLaunches, __func__);
}

// Workspaces: sizes that the caller allocates.
int cusolverDnSgetrf_bufferSize(void*, int, int, void*, int, int* size) {
  *size = 1024;
  return 0;
}
int cusolverDnDgetrf_bufferSize(void* handle, int m, int n, void* a, int lda, int* size) {
  return cusolverDnSgetrf_bufferSize(handle, m, n, a, lda, size);
}
int cusolverDnXgetrf_bufferSize(void*, void*, int64_t, int64_t, int, const void*, int64_t, int,
                                size_t* device, size_t* host) {
  *device = *host = 1024;
  return 0;
}

// Of eigenvalues and singular values. What follows the size in NVIDIA's headers is not read.
#define NULL_GPU_WORKSPACES(T)                                                                     \
  int cusolverDn##T##syevd_bufferSize(void*, int, int, int, void*, int, void*, int* size) {        \
    return *size = 1024, 0;                                                                        \
  }                                                                                                \
  int cusolverDn##T##syevj_bufferSize(void*, int, int, int, void*, int, void*, int* size) {        \
    return *size = 1024, 0;                                                                        \
  }                                                                                                \
  int cusolverDn##T##syevjBatched_bufferSize(void*, int, int, int, void*, int, void*, int* size) { \
    return *size = 1024, 0;                                                                        \
  }                                                                                                \
  int cusolverDn##T##gesvd_bufferSize(void*, int, int, int* size) { return *size = 1024, 0; }      \
  int cusolverDn##T##gesvdj_bufferSize(void*, int, int, int, int, void*, int, void*, void*, int,   \
                                       void*, int, int* size) {                                    \
    return *size = 1024, 0;                                                                        \
  }                                                                                                \
  int cusolverDn##T##gesvdjBatched_bufferSize(void*, int, int, int, void*, int, void*, void*, int, \
                                              void*, int, int* size) {                             \
    return *size = 1024, 0;                                                                        \
  }
NULL_GPU_WORKSPACES(S)
NULL_GPU_WORKSPACES(D)
#undef NULL_GPU_WORKSPACES
int cusolverDnXsyevd_bufferSize(void*, void*, int, int, int64_t, int, const void*, int64_t, int,
                                const void*, int, size_t* device, size_t* host) {
  *device = *host = 1024;
  return 0;
}
int cusolverDnXsyevBatched_bufferSize(void*, void*, int, int, int64_t, int, const void*, int64_t,
                                      int, const void*, int, size_t* device, size_t* host) {
  *device = *host = 1024;
  return 0;
}

}  // extern "C"
