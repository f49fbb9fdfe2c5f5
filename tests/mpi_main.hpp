#pragma once
#include "comm/communicator.hpp"

namespace dissent::testing {
/// All ranks of this MPI test.
Communicator& world();
}  // namespace dissent::testing
