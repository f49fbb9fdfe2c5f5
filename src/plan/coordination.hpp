#pragma once
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace dissent::plan {

/// Says on stderr what is measured now, on rank 0 unless quiet: a plan takes seconds per grid.
void say_planning(bool quiet, int rank, const std::string& text);

/// Rank 0's values on every rank, so that all ranks decide alike. Collective.
std::vector<double> values_of_first_rank(Communicator& world, const std::vector<double>& values);

}  // namespace dissent::plan
