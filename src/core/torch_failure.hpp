#pragma once
#include <string>

#include "core/failure.hpp"

namespace dissent {

/// current_light_failure extended to LibTorch's errors: out of memory on the host or a GPU becomes
/// kMemory with the bytes requested and free, a failure of CUDA kComm, any other kInternal. The
/// first line of LibTorch's message follows in brackets.
Failure current_failure();

/// Message of the exception being handled, in one line, to be put in brackets after a message of
/// ours: "LibTorch: PytorchStreamReader failed ...".
std::string current_reason();

}  // namespace dissent
