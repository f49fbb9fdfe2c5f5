#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace dissent {

/// Memory for the tensors that recorded work allocates: graphs of one pool use the same memory, one
/// after the other, so it does not grow with their number.
class GraphPool {
 public:
  /// Error::kComm where the allocator has no pools
  /// (PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync).
  explicit GraphPool(at::Device device);
  /// The memory is given back once the pool and all of its graphs have ended.
  ~GraphPool();
  GraphPool(const GraphPool&) = delete;
  GraphPool& operator=(const GraphPool&) = delete;

 private:
  friend class DeviceGraph;
  struct State;
  std::shared_ptr<State> state_;
};

/// Work of fixed shapes and addresses, recorded once from the current CUDA stream and then replayed
/// with one launch: a training step is about a hundred short kernels, whose single launches would
/// take longer than the kernels.
class DeviceGraph {
 public:
  /// Records the work (it is not carried out) on the pool's device. Tensors that it allocates lie
  /// in the pool and hold nothing between two replays: graphs of a pool overwrite each other's. The
  /// same work has to have run once before on this stream, so that libraries have their workspaces.
  /// Error::kComm if the work cannot be recorded: what it threw, or CUDA's own message.
  DeviceGraph(GraphPool& pool, const std::function<void()>& work);
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;
  /// Carries the work out on the current stream.
  void replay();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dissent
