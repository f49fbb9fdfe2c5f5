#pragma once
#include "comm/communicator.hpp"

namespace dissent::testing {
/// All ranks of this test, over MPI.
Communicator& world();
/// Index of this rank's GPU; ranks share one where there are more ranks than GPUs.
int device();
}  // namespace dissent::testing
