#pragma once
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace dissent::plan {

/// Prints "plan: TEXT" on stderr, on rank 0 unless quiet: a plan takes seconds per grid, and the
/// user sees what is measured. Not collective.
void say_planning(bool quiet, int rank, const std::string& text);

/// Rank 0's values on every rank; all ranks pass as many. Whatever a rank measures differs a little
/// from rank to rank, and ranks that chose different grids would wait for each other for ever.
/// Collective.
std::vector<double> values_of_first_rank(Communicator& world, const std::vector<double>& values);

}  // namespace dissent::plan
