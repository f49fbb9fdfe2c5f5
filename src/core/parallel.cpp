#include "core/parallel.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

namespace dissent {
namespace {
int g_threads = 1;
// Aligned like the data that follows it: mold 1.10 sometimes places a single byte on its own page,
// and the program then does not start.
alignas(64) thread_local bool t_inside = false;
}  // namespace

void set_threads(int threads) {
  // LibTorch itself uses one thread. The program splits work into tasks of its own, so that sums do
  // not depend on the number of threads.
  g_threads = threads < 1 ? 1 : threads;
  at::set_num_threads(1);
}

int threads() { return g_threads; }

bool in_parallel_task() { return t_inside; }

void parallel_tasks(int64_t count, const std::function<void(int64_t)>& task) {
  // A task that starts tasks runs them itself: nested teams would use more threads than cores.
  const int team = static_cast<int>(std::min<int64_t>(g_threads, count));
  if (team <= 1 || t_inside) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }

  // An exception must not leave an OpenMP region; the first one is kept.
  std::exception_ptr first;
  std::mutex mutex;
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) {
    t_inside = true;
    try {
      task(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
    t_inside = false;
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace dissent
