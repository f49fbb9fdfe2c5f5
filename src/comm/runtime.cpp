#include "comm/runtime.hpp"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>

#include "comm/mpi.hpp"

namespace dissent {

Runtime::Runtime(int argc, char** argv, double timeout_s) {
  int provided = 0;
  DISSENT_MPI(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
  DISSENT_CHECK(provided >= MPI_THREAD_FUNNELED, kComm, "this MPI gives thread level {}, MPI_THREAD_FUNNELED ({}) is needed", provided, MPI_THREAD_FUNNELED);
  DISSENT_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  DISSENT_MPI(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
  set_timeout(timeout_s);
}

Runtime::~Runtime() {
  world_.reset();
  MPI_Finalize();
}

void Runtime::set_timeout(double timeout_s) { world_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false, timeout_s); }

void Runtime::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

int Runtime::default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    if (const int count = std::atoi(text); count > 0) return count;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int cores = CPU_COUNT(&set);
  // Ranks of this node with the same set of cores share it.
  int64_t first = 0;
  while (first < CPU_SETSIZE && !CPU_ISSET(first, &set)) ++first;
  auto node = world_->split_by_node();
  const auto sets = all_gather_integer(*node, first * CPU_SETSIZE + cores);
  const auto sharing = std::count(sets.begin(), sets.end(), first * CPU_SETSIZE + cores);
  return std::max<int>(1, cores / static_cast<int>(sharing));
}

std::string host_name() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  return host;
}

}  // namespace dissent
