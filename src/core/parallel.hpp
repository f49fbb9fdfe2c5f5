#pragma once
#include <cstdint>
#include <functional>

namespace dissent {

/// Sets the number of threads of this process. ATen and MKL are set to one thread each: a matrix
/// product is always computed by one thread, so its bits never depend on the number of threads
/// (measured: two-threaded products differ for some shapes). Parallelism is over tasks: members,
/// row blocks.
void set_threads(int threads);
int threads();

/// Runs task(0) ... task(count - 1) on the threads of this process, in any order; nested calls run
/// serially. The first exception is rethrown after all tasks have ended. Must not be called by two
/// threads at the same time.
void parallel_tasks(int64_t count, const std::function<void(int64_t)>& task);

/// True inside a task.
bool in_parallel_task();

}  // namespace dissent
