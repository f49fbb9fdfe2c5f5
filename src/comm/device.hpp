#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "core/device_math.hpp"
#include "core/enum_names.hpp"

namespace dissent {

/// `runtime.device` of a configuration, and --device of programs.
enum class DeviceChoice { kAuto, kCpu, kCuda };
inline constexpr EnumName<DeviceChoice> kDeviceChoices[] = {
    {DeviceChoice::kAuto, "auto"}, {DeviceChoice::kCpu, "cpu"}, {DeviceChoice::kCuda, "cuda"}};

/// Loads LibTorch's CUDA library if `choice` is not kCpu and this node has
/// GPUs. Called at the start of programs that may choose a GPU later: after a convolution, batch
/// norm, a backward pass or at::manual_seed on the CPU it is too late (Error::kInternal).
/// Error::kComm if the library cannot be loaded. Not collective.
void prepare_device(DeviceChoice choice);

/// The device of this rank. kCuda: GPU number (rank on its node) modulo (GPUs of the node); kAuto:
/// a GPU if this build supports it and every node has one. With a GPU, LibTorch's CUDA library is
/// loaded and this thread gets its own stream. How the device computes is set for the process
/// (set_device_math): `math` on a GPU, LibTorch's defaults on the CPU, whose results do not depend
/// on it. Error::kUsage, the same on every rank, if a GPU is required and not available: the build
/// has no CUDA, or a rank finds no GPU. Collective over world and node.
at::Device choose_device(DeviceChoice choice, Communicator& world, Communicator& node,
                         const DeviceMath& math = {});

/// Host and UUID of a GPU or MIG instance: the same text in every process that uses it, independent
/// of its index there.
std::string gpu_identity(int index);

/// "NVIDIA H100 80GB HBM3"; "CPU" for the host.
std::string gpu_name(at::Device device);

/// Makes a GPU this thread's current device, with a separate stream that can be captured into
/// graphs. Loads LibTorch's CUDA library. Error::kComm if CUDA fails.
void use_gpu(int index);

/// A group of the same ranks for tensors of the device: NCCL for a GPU (the self group for one
/// rank); nullptr for the CPU, where the group itself is used. Collective. group has to outlive the
/// result. Error::kUsage, the same on every rank, if two of the ranks use the same GPU (by its
/// UUID), unless NCCL_HOSTID differs between them.
std::unique_ptr<Communicator> make_device_communicator(Communicator& group, at::Device device);

/// Waits until the work on the device's current stream is done; returns at once for the CPU.
void synchronise(at::Device device);

/// Copies a host tensor to a GPU asynchronously, through pinned memory. For the CPU returns the
/// tensor itself.
at::Tensor to_device(const at::Tensor& host, at::Device device);

/// This rank's share of the free bytes of its GPU's memory: ranks of the node that use the same GPU
/// (by its UUID) get equal shares. No limit for the CPU. Collective over node.
int64_t free_device_bytes(Communicator& node, at::Device device);

}  // namespace dissent
