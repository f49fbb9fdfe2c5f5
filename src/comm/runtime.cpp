#include "comm/runtime.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "comm/mpi.hpp"
#include "comm/mpi_info.hpp"
#include "core/launcher.hpp"

namespace dissent {

// A flag in memory shared by the ranks of a node; 0 until one of them fails. If there is no shared
// memory, every rank is the first.
struct Runtime::FailureMark {
  explicit FailureMark(Communicator& world) {
    if (world.size() == 1) return;
    const auto node = world.split_by_node();

    // Shared memory and not a message: a rank that fails cannot rely on the others to answer.
    void* base = nullptr;
    MPI_Aint bytes = node->rank() == 0 ? sizeof(int) : 0;
    int unit = 0;
    const bool shared = MPI_Win_allocate_shared(bytes, sizeof(int), MPI_INFO_NULL,
                                                mpi_handle(*node), &base, &window) == MPI_SUCCESS &&
                        MPI_Win_shared_query(window, 0, &bytes, &unit, &base) == MPI_SUCCESS;
    if (shared && node->rank() == 0) std::atomic_ref(*static_cast<int*>(base)).store(0);

    // Used only if every rank of the node can reach it: otherwise each one reports its own failure.
    const auto all = all_gather_integer(*node, shared);
    if (std::find(all.begin(), all.end(), 0) == all.end()) failed = static_cast<int*>(base);
  }
  FailureMark(const FailureMark&) = delete;
  FailureMark& operator=(const FailureMark&) = delete;
  ~FailureMark() {
    if (window != MPI_WIN_NULL) MPI_Win_free(&window);
  }
  MPI_Win window = MPI_WIN_NULL;
  int* failed = nullptr;
};

namespace {

// An error that every process of the job finds, before its ranks can communicate.
[[noreturn]] void refuse(std::string message) {
  Error error(ErrorKind::kComm, std::move(message), __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

}  // namespace

Runtime::Runtime(int argc, char** argv, double timeout_s, UseMpi use) {
  // Without a process manager every process would be a job of its own, and all of them would write
  // the same files.
  const auto launch = launched();
  if (!launch.has_mpi && launch.ranks > 1)
    refuse(fmt::format(
        "{}: expected PMIX_RANK, PMIX_NAMESPACE or PMI_FD with {} tasks, found none of "
        "them: MPI would see {} programs of one rank. Start with srun --mpi=pmix (srun "
        "--mpi=list shows what is available) or mpirun; to run a single process, use env "
        "-u {}",
        launch.by, launch.ranks, launch.ranks, launch.by));

  mpi_ = use == UseMpi::kAlways || launch.has_mpi;
  if (mpi_) {
    int provided = 0;
    DISSENT_MPI(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
    DISSENT_CHECK(provided >= MPI_THREAD_FUNNELED, kComm,
                  "MPI: expected thread level MPI_THREAD_FUNNELED ({}), found {}",
                  MPI_THREAD_FUNNELED, provided);

    // Errors are returned, so that they become exceptions with a message instead of MPI's abort.
    DISSENT_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    DISSENT_MPI(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    world_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false, timeout_s);

    // The same danger where MPI starts but does not find the other processes.
    if (world_->size() == 1 && launch.ranks > 1)
      refuse(fmt::format(
          "{}: expected {} ranks, found one in MPI: the launcher belongs to another MPI "
          "installation than the program ({})",
          launch.by, launch.ranks, mpi_library()));
  } else {
    world_ = make_self_communicator();
    world_->wait_settings().timeout_s = timeout_s;
  }

  mark_ = std::make_unique<FailureMark>(*world_);
}

Runtime::~Runtime() {
  mark_.reset();
  world_.reset();
  if (mpi_) MPI_Finalize();
}

void Runtime::abort(int code) {
  if (mpi_) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

bool Runtime::first_to_fail() {
  return !mark_->failed || std::atomic_ref(*mark_->failed).exchange(1) == 0;
}

int Runtime::default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    if (const int count = std::atoi(text); count > 0) return count;
  }

  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int cores = CPU_COUNT(&set);
  // Ranks of this node with the same set of cores share it; a set is identified by first core and
  // size.
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
