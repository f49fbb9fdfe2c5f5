#pragma once
// A CUDA runtime without a device, for tests of the device path on a machine that has no GPU.
//
// The functions of cudart, cuBLAS and its kind, the driver and NCCL that LibTorch and this program
// call are defined here; preloaded, they take the places of NVIDIA's. Memory, streams, events,
// capture and copies follow CUDA's rules; kernels compute nothing. What it finds: host access of
// device memory, work on a stream of another device, copies outside of what was allocated, calls
// that a capture does not allow; and it counts launches, copies, synchronisations and allocations.
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>

namespace null_gpu {

// --- report.cpp -------------------------------------------------------------------------------

/// What is counted, by name in the report (report.cpp keeps the list).
enum class Count : int {
  kLaunches,            ///< kernels outside of captures, library calls that would launch one too
  kDefaultStream,       ///< of these: on the default stream, where a rank should have its own
  kCapturedNodes,       ///< kernels, copies and fills that went into graphs
  kGraphs,              ///< captures that ended well
  kFailedCaptures,      ///< captures that were refused or invalidated
  kGraphLaunches,       ///< replays
  kCopiesToDevice,      ///< from host memory
  kCopiesToHost,        ///< from device memory
  kPageableCopies,      ///< of the two before: host memory that is not pinned
  kCopiesOnDevice,      ///< between two places of the device
  kHostCopiesInGraphs,  ///< captured copies that would read or write the same host address again
  kFills,               ///< cudaMemset
  kSynchronisations,    ///< host waits: stream, event, device, blocking copies
  kEventQueries,        ///< polls of events and streams
  kAllocations,         ///< cudaMalloc
  kAllocatedBytes,      ///< by all of these together, freed or not
  kPinnedAllocations,   ///< cudaHostAlloc
  kCollectives,         ///< NCCL operations
  kErrors,              ///< calls that returned an error other than "not ready"
  kEnd
};
void count(Count what, int64_t by = 1);

/// Notes an error of a call on stderr (NULL_GPU_LOG=2: with a backtrace) and returns it;
/// cudaGetLastError gives it once more.
cudaError_t fail(cudaError_t code, const char* call);

/// A numeric environment variable, or a default.
double setting(const char* name, double otherwise);

// --- devices.cpp ------------------------------------------------------------------------------

/// Devices that are pretended: NULL_GPU_DEVICES, 1.
int devices();
/// The current device of this thread.
int current_device();

// --- memory.cpp -------------------------------------------------------------------------------

bool is_device(const void* pointer);
/// Where a host thread of this library may read and write what lies at a device address; a host
/// address is returned as it is.
void* readable(const void* pointer);
/// The device on which an address lies; -1 for host memory.
int device_of(const void* pointer);

// --- streams.cpp ------------------------------------------------------------------------------

struct Stream {
  int device = 0;
  bool legacy = false;  ///< the default stream of a device: cannot be captured
  bool capturing = false, invalid = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id captured_by;
  unsigned long long capture = 0;
  int64_t nodes = 0;
  std::atomic<int> pending{0};  ///< collectives that have not ended
};
/// The stream of a handle; nullptr and 0 to 2 are the current device's default stream.
Stream& stream_of(cudaStream_t handle);
/// Until no collective is under way on the stream.
void wait_for(Stream& stream);
/// Error that an unsafe call gets while a capture forbids it to this thread, which ends that
/// capture too; else cudaSuccess.
cudaError_t unsafe(const char* call);
/// A kernel, copy or fill on a stream: counted as a launch, or as a node of the capture.
/// Error: the stream belongs to another device than the current one.
cudaError_t work_on(cudaStream_t stream, Count what, const char* call);

}  // namespace null_gpu
