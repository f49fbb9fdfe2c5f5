#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace dissent {

/// Memory for the tensors that recorded work allocates. The graphs of a pool run one after the
/// other and share this memory, so it does not grow with their number.
class GraphPool {
 public:
  /// Error::kComm if the allocator has no pools
  /// (PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync).
  explicit GraphPool(at::Device device);
  /// The memory is freed once the pool and all of its graphs are destroyed.
  ~GraphPool();
  GraphPool(const GraphPool&) = delete;
  GraphPool& operator=(const GraphPool&) = delete;

 private:
  friend class DeviceGraph;
  struct State;
  std::shared_ptr<State> state_;
};

/// Work of fixed shapes and addresses, recorded once from the current CUDA stream and then replayed
/// with one launch. A training step is about a hundred short kernels: launching them one by one
/// would take longer than the kernels themselves.
class DeviceGraph {
 public:
  /// Records the work on the pool's device, without executing it. Tensors that it allocates lie in
  /// the pool; their contents are lost between two replays, because the graphs of a pool overwrite
  /// each other's. The same work must have run before on this stream, so that libraries have
  /// allocated their workspaces.
  /// Error::kComm if the work cannot be recorded, with the message of its exception or of CUDA.
  DeviceGraph(GraphPool& pool, const std::function<void()>& work);
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;
  /// Executes the work on the current stream.
  void replay();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dissent
