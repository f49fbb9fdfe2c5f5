// Streams, events and captures. Work is done when it is called, so streams order nothing; what a
// stream may not do is refused as CUDA refuses it.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

#include "null_gpu.hpp"

namespace null_gpu {
namespace {

constexpr int kStreams = 4096;
Stream streams[kStreams];
Stream legacy[64];
std::atomic<int> stream_count{0};
std::atomic<unsigned long long> captures{0};
std::atomic<int> captures_open{0};
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

using Clock = std::chrono::steady_clock;
struct Event {
  Clock::time_point recorded;
  Stream* stream = nullptr;
};
Event& event_of(cudaEvent_t handle) { return *reinterpret_cast<Event*>(handle); }

struct Graph {
  int64_t nodes;
};

cudaError_t make_stream(cudaStream_t* handle) {
  const int index = stream_count++;
  if (index >= kStreams) return fail(cudaErrorMemoryAllocation, "cudaStreamCreate");
  streams[index].device = current_device();
  *handle = reinterpret_cast<cudaStream_t>(&streams[index]);
  return cudaSuccess;
}

// True if a capture that is under way forbids unsafe calls to this thread.
bool forbids(const Stream& stream) {
  if (!stream.capturing || stream.mode == cudaStreamCaptureModeRelaxed) return false;
  const bool own = stream.captured_by == std::this_thread::get_id();
  return own || stream.mode == cudaStreamCaptureModeGlobal;
}

}  // namespace

Stream& stream_of(cudaStream_t handle) {
  if (reinterpret_cast<uintptr_t>(handle) > 2) return *reinterpret_cast<Stream*>(handle);
  auto& stream = legacy[current_device()];
  stream.device = current_device();
  stream.legacy = true;
  return stream;
}

void wait_for(Stream& stream) {
  while (stream.pending > 0) std::this_thread::sleep_for(std::chrono::microseconds(20));
}

cudaError_t unsafe(const char* call) {
  if (captures_open == 0 || thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  bool any = false;
  for (auto& stream : streams) {
    if (!forbids(stream)) continue;
    stream.invalid = any = true;
  }
  return any ? fail(cudaErrorStreamCaptureUnsupported, call) : cudaSuccess;
}

cudaError_t work_on(cudaStream_t handle, Count what, const char* call) {
  auto& stream = stream_of(handle);
  if (stream.device != current_device()) return fail(cudaErrorInvalidResourceHandle, call);
  if (stream.capturing) {
    ++stream.nodes;
    count(Count::kCapturedNodes);
  } else {
    // Work on the default stream would wait for a stream that is being captured.
    if (stream.legacy)
      if (const auto code = unsafe(call); code != cudaSuccess) return code;
    count(what);
    if (stream.legacy && what == Count::kLaunches) count(Count::kDefaultStream);
  }
  return cudaSuccess;
}

}  // namespace null_gpu

using namespace null_gpu;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return make_stream(stream); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return make_stream(stream);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return make_stream(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
  *priority = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  auto& stream = stream_of(handle);
  if (stream.capturing) stream.invalid = true;
  if (stream.capturing) return fail(cudaErrorStreamCaptureUnsupported, __func__);
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  count(Count::kEventQueries);
  return stream.pending > 0 ? fail(cudaErrorNotReady, __func__) : cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  auto& stream = stream_of(handle);
  if (stream.capturing) stream.invalid = true;
  if (stream.capturing) return fail(cudaErrorStreamCaptureUnsupported, __func__);
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  count(Count::kSynchronisations);
  wait_for(stream);
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  count(Count::kSynchronisations);
  for (auto& stream : streams)
    if (stream.device == current_device()) wait_for(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void* data,
                                  unsigned) {
  wait_for(stream_of(stream));
  callback(stream, cudaSuccess, data);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete &event_of(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  event_of(event).recorded = Clock::now();
  event_of(event).stream = &stream_of(stream);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  count(Count::kEventQueries);
  const auto* stream = event_of(event).stream;
  return stream && stream->pending > 0 ? fail(cudaErrorNotReady, __func__) : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const auto code = unsafe(__func__); code != cudaSuccess) return code;
  count(Count::kSynchronisations);
  if (event_of(event).stream) wait_for(*event_of(event).stream);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  *ms = std::chrono::duration<float, std::milli>(event_of(end).recorded - event_of(start).recorded)
            .count();
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  auto& stream = stream_of(handle);
  if (stream.legacy || stream.capturing) {
    count(Count::kFailedCaptures);
    return fail(stream.legacy ? cudaErrorStreamCaptureUnsupported : cudaErrorIllegalState,
                __func__);
  }
  stream.capturing = true;
  stream.invalid = false;
  stream.mode = mode;
  stream.captured_by = std::this_thread::get_id();
  stream.capture = ++captures;
  stream.nodes = 0;
  ++captures_open;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  auto& stream = stream_of(handle);
  *graph = nullptr;
  if (!stream.capturing) return fail(cudaErrorIllegalState, __func__);
  stream.capturing = false;
  --captures_open;
  const bool wrong_thread = stream.mode != cudaStreamCaptureModeRelaxed &&
                            stream.captured_by != std::this_thread::get_id();
  if (stream.invalid || wrong_thread) {
    count(Count::kFailedCaptures);
    return fail(
        wrong_thread ? cudaErrorStreamCaptureWrongThread : cudaErrorStreamCaptureInvalidated,
        __func__);
  }
  count(Count::kGraphs);
  *graph = reinterpret_cast<cudaGraph_t>(new Graph{stream.nodes});
  if (setting("NULL_GPU_LOG", 0) > 0)
    std::fprintf(stderr, "null_gpu: captured a graph of %lld nodes\n",
                 static_cast<long long>(stream.nodes));
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  const auto& stream = stream_of(handle);
  *status = !stream.capturing ? cudaStreamCaptureStatusNone
            : stream.invalid  ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, size_t* count) {
  cudaStreamIsCapturing(handle, status);
  if (id) *id = stream_of(handle).capture;
  if (graph) *graph = nullptr;
  if (dependencies) *dependencies = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                          unsigned long long) {
  if (!graph) return fail(cudaErrorInvalidValue, __func__);
  *executable = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(executable, graph, flags);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  if (!executable) return fail(cudaErrorInvalidValue, __func__);
  if (stream_of(handle).device != current_device())
    return fail(cudaErrorInvalidResourceHandle, __func__);
  count(Count::kGraphLaunches);
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = static_cast<size_t>(reinterpret_cast<Graph*>(graph)->nodes);
  return cudaSuccess;
}
cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t, cudaGraphNode_t*, cudaGraphEdgeData*,
                                         size_t* count) {
  if (count) *count = 0;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete reinterpret_cast<Graph*>(executable);
  return cudaSuccess;
}
cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) { return cudaSuccess; }

}  // extern "C"
