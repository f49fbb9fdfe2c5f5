// main of the MPI tests: fails when the launcher gave another number of ranks than the test was
// registered with (one rank would test nothing).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "comm/runtime.hpp"
#include "core/parallel.hpp"
#include "mpi_main.hpp"

namespace {
dissent::Runtime* g_runtime = nullptr;
}

namespace dissent::testing {
Communicator& world() { return g_runtime->world(); }
}  // namespace dissent::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  dissent::Runtime runtime(argc, argv, 60);
  g_runtime = &runtime;
  dissent::set_threads(1);
  const char* expected = std::getenv("DISSENT_EXPECTED_RANKS");
  if (!expected || std::atoi(expected) != runtime.world().size()) {
    std::fprintf(stderr, "expected %s ranks, found %d\n",
                 expected ? expected : "DISSENT_EXPECTED_RANKS", runtime.world().size());
    runtime.abort(1);
  }
  const int result = RUN_ALL_TESTS();
  // A failure on any rank fails the job; a rank that left a collective early must not hang the
  // others.
  if (result != 0) runtime.abort(1);
  return result;
}
