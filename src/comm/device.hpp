#pragma once
#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "core/device_math.hpp"

namespace dissent {

/// Loads LibTorch's CUDA library if `wanted` (a runtime.device) is not "cpu" and this node has
/// GPUs. For the start of what may choose a GPU later: once a process has run a convolution, batch
/// norm, a backward pass or at::manual_seed on the CPU, it is too late (Error::kInternal).
/// Error::kComm where the library cannot be loaded. Not collective.
void prepare_device(const std::string& wanted);

/// The device of this rank for `runtime.device`: "cpu"; "cuda": GPU number (rank on its node)
/// modulo (GPUs of the node); "auto": cuda if this build has it and every node has a GPU. With
/// cuda, LibTorch's CUDA library is loaded and this thread gets a stream of its own. How the device
/// computes is set for the process (set_device_math): `math` on a GPU, LibTorch's usual algorithms
/// on the CPU, whose bits do not depend on it. Error::kUsage, the same on every rank, where "cuda"
/// cannot be had: the build has no CUDA, or a rank finds no GPU. Collective over world and node.
at::Device choose_device(const std::string& wanted, Communicator& world, Communicator& node,
                         const DeviceMath& math = {});

/// Host and UUID of a GPU or MIG instance: the same text in every process that uses it, whatever
/// index it has there.
std::string gpu_identity(int index);

/// "NVIDIA H100 80GB HBM3"; "CPU" for the host.
std::string gpu_name(at::Device device);

/// Makes a GPU this thread's current device, with a stream of its own that can be captured into
/// graphs. Loads LibTorch's CUDA library. Error::kComm where CUDA refuses.
void use_gpu(int index);

/// A group of the same ranks over tensors of the device: NCCL for a GPU (for one rank a group of
/// itself), the group itself (nullptr is returned) for the CPU. Collective. group has to outlive
/// the result.
/// Error::kUsage, the same on every rank, if two of the ranks use the same GPU (by its UUID),
/// unless NCCL_HOSTID differs between them.
std::unique_ptr<Communicator> make_device_communicator(Communicator& group, at::Device device);

/// Returns when the work on the device's current stream is done; at once for the CPU.
void synchronise(at::Device device);

/// A copy of a host tensor on a GPU, through pinned memory: this thread does not wait for it. The
/// tensor itself for the CPU.
at::Tensor to_device(const at::Tensor& host, at::Device device);

/// This rank's share of the free bytes of its GPU's memory: ranks of the node that use the same GPU
/// (by its UUID) get equal shares. No limit for the CPU. Collective over node.
int64_t free_device_bytes(Communicator& node, at::Device device);

}  // namespace dissent
