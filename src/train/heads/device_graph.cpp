#include "train/heads/device_graph.hpp"

#include <exception>
#include <string>

#include <dissent/error.hpp>

#ifdef DISSENT_KERNELS_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>

#include <atomic>

#include "comm/nccl.hpp"
#include "core/torch_failure.hpp"

namespace dissent {
namespace {
namespace allocator = c10::cuda::CUDACachingAllocator;

cudaStream_t current_stream(at::Device device) {
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
}

// Ids (0, n) are chosen by users of the allocator. This counter starts far from LibTorch's own.
c10::MempoolId_t next_pool() {
  static std::atomic<c10::CaptureId_t> count{1u << 30};
  return {0, count++};
}
}  // namespace

struct GraphPool::State {
  at::Device device;
  c10::MempoolId_t id;
  ~State() { allocator::releasePool(device.index(), id); }
};

GraphPool::GraphPool(at::Device device) {
  const auto id = next_pool();
  // The pool has its own reference, so that its memory outlives the graphs of an epoch.
  try {
    allocator::createOrIncrefPool(device.index(), id);
  } catch (const c10::Error&) {
    DISSENT_FAIL(kComm, "CUDA graphs: expected an allocator with memory pools, found none ({})",
                 current_reason());
  }
  state_ = std::make_shared<State>(device, id);
}
GraphPool::~GraphPool() = default;

struct DeviceGraph::State {
  std::shared_ptr<GraphPool::State> pool;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
};

DeviceGraph::DeviceGraph(GraphPool& pool, const std::function<void()>& work)
    : state_(std::make_unique<State>(pool.state_)) {
  const auto device = pool.state_->device;
  const auto stream = current_stream(device);

  // Tensors that the work allocates on this stream are taken from the pool, at addresses that stay
  // valid when the graph is replayed.
  allocator::beginAllocateToPool(device.index(), pool.state_->id,
                                 [stream](cudaStream_t other) { return other == stream; });

  // An error of the work is kept until the capture has ended: the stream is unusable before.
  std::string failure;
  cudaError_t code = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (code == cudaSuccess) {
    try {
      work();
    } catch (const c10::Error& error) {
      failure = error.what_without_backtrace();
      failure = failure.substr(0, failure.find('\n'));  // lines of advice on debugging follow
    } catch (const std::exception& error) {
      failure = error.what();
    }
    code = cudaStreamEndCapture(stream, &state_->graph);
  }
  allocator::endAllocateToPool(device.index(), pool.state_->id);

  if (code == cudaSuccess && failure.empty())
    code = cudaGraphInstantiate(&state_->executable, state_->graph, 0);
  if (code == cudaSuccess && failure.empty()) return;

  // CUDA's sticky error is cleared, so that the caller can compute the step without a graph.
  cudaGetLastError();
  if (state_->graph) cudaGraphDestroy(state_->graph);
  allocator::releasePool(device.index(), pool.state_->id);
  // The work's own error says more than that of the capture that it interrupted.
  DISSENT_FAIL(kComm, "CUDA graph: expected a step that can be recorded, found the error: {}",
               failure.empty() ? cudaGetErrorString(code) : failure);
}

DeviceGraph::~DeviceGraph() {
  const auto device = state_->pool->device;
  cudaStreamSynchronize(current_stream(device));
  cudaGraphExecDestroy(state_->executable);
  cudaGraphDestroy(state_->graph);
  allocator::releasePool(device.index(), state_->pool->id);
}

void DeviceGraph::replay() {
  DISSENT_CUDA(cudaGraphLaunch(state_->executable, current_stream(state_->pool->device)));
}

}  // namespace dissent
#else
namespace dissent {
struct GraphPool::State {};
GraphPool::GraphPool(at::Device device) {
  DISSENT_FAIL(kUsage, "CUDA graphs: expected a build with CUDA for {}, found one without",
               device.str());
}
GraphPool::~GraphPool() = default;
struct DeviceGraph::State {};
DeviceGraph::DeviceGraph(GraphPool&, const std::function<void()>&) {}
DeviceGraph::~DeviceGraph() = default;
void DeviceGraph::replay() {}
}  // namespace dissent
#endif
