#include "train/device_graph.hpp"

#include <dissent/error.hpp>

#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>

#include <atomic>

#include "comm/nccl.hpp"

namespace dissent {
namespace {
namespace allocator = c10::cuda::CUDACachingAllocator;

cudaStream_t current_stream(at::Device device) {
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
}

// Ids (0, n) are those that users of the allocator give; far from LibTorch's own counter.
c10::MempoolId_t next_pool() {
  static std::atomic<c10::CaptureId_t> count{1u << 30};
  return {0, count++};
}
}  // namespace

struct DeviceGraph::State {
  at::Device device;
  c10::MempoolId_t pool;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
};

DeviceGraph::DeviceGraph(at::Device device, const std::function<void()>& work)
    : state_(std::make_unique<State>(device, next_pool())) {
  const auto stream = current_stream(device);
  allocator::beginAllocateToPool(device.index(), state_->pool,
                                 [stream](cudaStream_t other) { return other == stream; });
  std::exception_ptr failure;
  cudaError_t code = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (code == cudaSuccess) {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    code = cudaStreamEndCapture(stream, &state_->graph);
  }
  allocator::endAllocateToPool(device.index(), state_->pool);
  if (code == cudaSuccess && !failure)
    code = cudaGraphInstantiate(&state_->executable, state_->graph, 0);
  if (code == cudaSuccess && !failure) return;
  cudaGetLastError();
  if (state_->graph) cudaGraphDestroy(state_->graph);
  allocator::releasePool(device.index(), state_->pool);
  DISSENT_FAIL(kComm, "the step could not be recorded as a CUDA graph: {}",
               cudaGetErrorString(code));
}

DeviceGraph::~DeviceGraph() {
  cudaStreamSynchronize(current_stream(state_->device));
  cudaGraphExecDestroy(state_->executable);
  cudaGraphDestroy(state_->graph);
  allocator::releasePool(state_->device.index(), state_->pool);
}

void DeviceGraph::replay() {
  DISSENT_CUDA(cudaGraphLaunch(state_->executable, current_stream(state_->device)));
}

}  // namespace dissent
#else
namespace dissent {
struct DeviceGraph::State {};
DeviceGraph::DeviceGraph(at::Device device, const std::function<void()>&) {
  DISSENT_FAIL(kUsage, "no CUDA in this build: no graph on {}", device.str());
}
DeviceGraph::~DeviceGraph() = default;
void DeviceGraph::replay() {}
}  // namespace dissent
#endif
