// The group of one process, for tests that need some group.
#pragma once
#include <memory>

#include "comm/communicator.hpp"

namespace dissent::testing {

inline const std::unique_ptr<Communicator> self = make_self_communicator();

}  // namespace dissent::testing
