// Device memory: pages that no thread of the process may touch (an access by the host is a crash),
// with a second mapping through which copies of this library read and write them.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "null_gpu.hpp"

namespace null_gpu {
namespace {

constexpr uint64_t kSpace = uint64_t{1} << 38;  // addresses of a device; never given twice
constexpr uint64_t kPage = 2 << 20;             // cudaMalloc's granularity for large blocks
char* const kAddress = reinterpret_cast<char*>(0x600000000000);

struct Memory {
  char *protected_ = nullptr, *open = nullptr;
  int file = -1;
  uint64_t next[64] = {}, used[64] = {};
  std::map<uint64_t, uint64_t> blocks;  // offset -> bytes
  std::map<const char*, size_t> pinned;
  std::mutex lock;

  Memory() {
    const auto size = kSpace * static_cast<uint64_t>(devices());
    file = memfd_create("null_gpu", MFD_CLOEXEC);
    const bool sized = file >= 0 && ftruncate(file, static_cast<off_t>(size)) == 0;
    void* a = MAP_FAILED;
    void* b = MAP_FAILED;
    if (sized) {
      a = mmap(kAddress, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, file,
               0);
      b = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    }
    if (a == MAP_FAILED || b == MAP_FAILED) {
      std::perror("null_gpu: no address space for device memory");
      _exit(9);
    }
    protected_ = static_cast<char*>(a);
    open = static_cast<char*>(b);
  }
};

Memory& memory() {
  static auto* memory = new Memory;  // LibTorch frees after static objects have ended
  return *memory;
}

uint64_t total_bytes() { return static_cast<uint64_t>(setting("NULL_GPU_MEMORY_GB", 80) * 1e9); }
uint64_t offset_of(const void* pointer) {
  return static_cast<uint64_t>(static_cast<const char*>(pointer) - kAddress);
}

// True if [pointer, pointer + bytes) is inside of one allocation of a device.
bool is_allocated(const void* pointer, size_t bytes) {
  auto& m = memory();
  const std::lock_guard guard(m.lock);
  const uint64_t offset = offset_of(pointer);
  auto block = m.blocks.upper_bound(offset);
  if (block == m.blocks.begin()) return false;
  --block;
  return offset + bytes <= block->first + block->second;
}

bool is_pinned(const void* pointer) {
  auto& m = memory();
  const std::lock_guard guard(m.lock);
  auto range = m.pinned.upper_bound(static_cast<const char*>(pointer));
  if (range == m.pinned.begin()) return false;
  --range;
  return static_cast<const char*>(pointer) < range->first + range->second;
}

void add_pinned(const void* pointer, size_t bytes) {
  auto& m = memory();
  const std::lock_guard guard(m.lock);
  m.pinned[static_cast<const char*>(pointer)] = bytes;
}

void remove_pinned(const void* pointer) {
  auto& m = memory();
  const std::lock_guard guard(m.lock);
  m.pinned.erase(static_cast<const char*>(pointer));
}

// The bytes, at once. What a kernel would have computed is 0; a single f64 is NULL_GPU_SCALAR, a
// single i32 NULL_GPU_COUNT.
void move(void* to, const void* from, size_t bytes) {
  static const auto computed = static_cast<size_t>(setting("NULL_GPU_COMPUTED", 64 << 10));
  if (!is_device(to) && is_device(from) && bytes <= computed) {
    std::memset(to, 0, bytes);
    const double scalar = setting("NULL_GPU_SCALAR", 0);
    if (bytes == sizeof scalar) std::memcpy(to, &scalar, sizeof scalar);
    const auto number = static_cast<int32_t>(setting("NULL_GPU_COUNT", 0));
    if (bytes == sizeof number) std::memcpy(to, &number, sizeof number);
    return;
  }
  std::memmove(readable(to), readable(from), bytes);
}

// A copy on a stream, or into its capture.
cudaError_t copy(void* to, const void* from, size_t bytes, cudaStream_t handle, const char* call) {
  if (bytes == 0) return cudaSuccess;
  auto& stream = stream_of(handle);
  for (const void* end : {static_cast<const void*>(to), from})
    if (is_device(end) && !is_allocated(end, bytes)) return fail(cudaErrorInvalidValue, call);
  const bool to_device = is_device(to), from_device = is_device(from);
  const void* host = to_device ? from : to;
  const bool with_host = to_device != from_device;
  const bool pageable = with_host && !is_pinned(host);
  if (stream.capturing) {
    if (pageable) {
      stream.invalid = true;
      return fail(cudaErrorStreamCaptureUnsupported, "a copy of pageable memory in a capture");
    }
    if (with_host) count(Count::kHostCopiesInGraphs);
    return work_on(handle, Count::kCopiesOnDevice, call);
  }
  wait_for(stream);
  if (pageable) count(Count::kPageableCopies);
  const auto code = work_on(handle,
                            !with_host  ? Count::kCopiesOnDevice
                            : to_device ? Count::kCopiesToDevice
                                        : Count::kCopiesToHost,
                            call);
  if (code == cudaSuccess) move(to, from, bytes);
  return code;
}

cudaError_t fill(void* to, int value, size_t bytes, cudaStream_t handle, const char* call) {
  if (bytes == 0) return cudaSuccess;
  if (!is_device(to) || !is_allocated(to, bytes)) return fail(cudaErrorInvalidValue, call);
  auto& stream = stream_of(handle);
  const auto code = work_on(handle, Count::kFills, call);
  if (code != cudaSuccess || stream.capturing) return code;
  wait_for(stream);
  std::memset(readable(to), value, bytes);
  return cudaSuccess;
}

}  // namespace

bool is_device(const void* pointer) {
  const auto* p = static_cast<const char*>(pointer);
  return p >= kAddress && p < kAddress + kSpace * static_cast<uint64_t>(devices());
}
void* readable(const void* pointer) {
  return is_device(pointer) ? memory().open + offset_of(pointer) : const_cast<void*>(pointer);
}
int device_of(const void* pointer) {
  return is_device(pointer) ? static_cast<int>(offset_of(pointer) / kSpace) : -1;
}

}  // namespace null_gpu

using namespace null_gpu;

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  auto& m = memory();
  const auto device = current_device();
  const uint64_t size = (bytes + kPage - 1) / kPage * kPage;
  {
    const std::lock_guard guard(m.lock);
    if (m.used[device] + size <= total_bytes() && m.next[device] + size <= kSpace) {
      const uint64_t offset = kSpace * static_cast<uint64_t>(device) + m.next[device];
      m.next[device] += size;
      m.used[device] += size;
      m.blocks[offset] = size;
      *pointer = m.protected_ + offset;
    }
  }
  if (!*pointer) return fail(cudaErrorMemoryAllocation, __func__);
  count(Count::kAllocations);
  count(Count::kAllocatedBytes, static_cast<int64_t>(size));
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  auto& m = memory();
  const std::lock_guard guard(m.lock);
  const auto block = m.blocks.find(offset_of(pointer));
  if (!is_device(pointer) || block == m.blocks.end()) return fail(cudaErrorInvalidValue, __func__);
  m.used[block->first / kSpace] -= block->second;
  fallocate(m.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(block->first),
            static_cast<off_t>(block->second));
  m.blocks.erase(block);
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  return cudaMalloc(pointer, bytes);
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  auto& m = memory();
  const std::lock_guard guard(m.lock);
  *total = total_bytes();
  *free = *total - m.used[current_device()];
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*pointer) return fail(cudaErrorMemoryAllocation, __func__);
  add_pinned(*pointer, bytes);
  count(Count::kPinnedAllocations);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  remove_pinned(pointer);
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  add_pinned(pointer, bytes);
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* pointer) {
  remove_pinned(pointer);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  std::memset(attributes, 0, sizeof *attributes);
  attributes->device = is_device(pointer) ? device_of(pointer) : -2;
  if (is_device(pointer)) {
    attributes->type = cudaMemoryTypeDevice;
    attributes->devicePointer = const_cast<void*>(pointer);
  } else if (is_pinned(pointer)) {
    attributes->type = cudaMemoryTypeHost;
    attributes->device = 0;
    attributes->devicePointer = attributes->hostPointer = const_cast<void*>(pointer);
  } else {
    attributes->type = cudaMemoryTypeUnregistered;
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return copy(to, from, bytes, stream, __func__);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  count(Count::kSynchronisations);
  return copy(to, from, bytes, nullptr, __func__);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes,
                                cudaStream_t stream) {
  return copy(to, from, bytes, stream, __func__);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind, cudaStream_t handle) {
  const auto code = work_on(handle, Count::kCopiesOnDevice, __func__);
  if (code != cudaSuccess || stream_of(handle).capturing) return code;
  wait_for(stream_of(handle));
  for (size_t row = 0; row < height; ++row)
    std::memcpy(static_cast<char*>(readable(to)) + row * to_pitch,
                static_cast<char*>(readable(from)) + row * from_pitch, width);
  return cudaSuccess;
}
cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return fill(to, value, bytes, stream, __func__);
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return fill(to, value, bytes, nullptr, __func__);
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  static int one;
  *pool = reinterpret_cast<cudaMemPool_t>(&one);
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  std::memset(value, 0, sizeof(uint64_t));
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t, const cudaMemAccessDesc*, size_t) {
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaIpcCloseMemHandle(void*) { return cudaSuccess; }
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t*, void*) {
  return fail(cudaErrorNotSupported, __func__);
}
cudaError_t cudaIpcOpenMemHandle(void**, cudaIpcMemHandle_t, unsigned) {
  return fail(cudaErrorNotSupported, __func__);
}
cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t*, cudaEvent_t) {
  return fail(cudaErrorNotSupported, __func__);
}
cudaError_t cudaIpcOpenEventHandle(cudaEvent_t*, cudaIpcEventHandle_t) {
  return fail(cudaErrorNotSupported, __func__);
}

}  // extern "C"
