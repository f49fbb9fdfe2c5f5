#pragma once
#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace dissent {

/// The device of this rank for `runtime.device`: "cpu"; "cuda": GPU number (rank on its node)
/// modulo (GPUs of the node); "auto": cuda if this build has it and every node has a GPU. With
/// cuda, LibTorch's CUDA library is loaded and this thread gets a stream of its own.
/// Error::kUsage, the same on every rank, where "cuda" cannot be had: the build has no CUDA, or a
/// rank finds no GPU. Collective over world and node.
at::Device choose_device(const std::string& wanted, Communicator& world, Communicator& node);

/// A group of the same ranks over tensors of the device: NCCL for a GPU, the group itself (nullptr
/// is returned) for the CPU. Collective. group has to outlive the result.
std::unique_ptr<Communicator> make_device_communicator(Communicator& group, at::Device device);

/// Free bytes of a GPU's memory, or of the node for the CPU.
int64_t free_device_bytes(at::Device device);

}  // namespace dissent
