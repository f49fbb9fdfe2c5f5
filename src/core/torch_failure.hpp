#pragma once
#include "core/failure.hpp"

namespace dissent {

/// current_light_failure, with LibTorch's errors: memory of the host or of a GPU as kMemory with
/// the bytes that were asked for and that are free, a failure of CUDA as kComm, any other as
/// kInternal. Of what LibTorch says the first line follows in brackets.
Failure current_failure();

/// What the exception that is being handled says, in one line, for brackets behind a message of our
/// own: "LibTorch: PytorchStreamReader failed ...".
std::string current_reason();

}  // namespace dissent
