#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace dissent {

/// Work of fixed shapes and addresses, recorded once from the current CUDA stream and then replayed
/// with one launch: a training step is about a hundred short kernels, whose single launches would
/// take longer than the kernels.
class DeviceGraph {
 public:
  /// Records the work (it is not carried out). Tensors that it allocates belong to the graph and
  /// stay until it ends. The same work has to have run once before on this stream, so that
  /// libraries have their workspaces. Error::kComm if the work cannot be recorded (it waits for the
  /// device, say).
  DeviceGraph(at::Device device, const std::function<void()>& work);
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
