#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dissent {

/// A program to start. Arguments are passed to exec unchanged: no shell reads them.
struct Command {
  std::vector<std::string> argv;  ///< argv[0] is looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment =
      {};                          ///< set on top of the environment of this process
  std::string in = {};             ///< file for stdin; empty: stdin of this process
  std::string out = {}, err = {};  ///< files to append to; empty: those of this process
  std::vector<int> cores = {};     ///< CPU affinity; empty: that of this process
  bool dies_with_parent = true;    ///< it gets SIGTERM if the thread that started it ends first
  bool own_session = false;        ///< a session of its own: signals to a terminal's or launcher's
                                   ///< session do not reach it
};

/// Starts a program in its own process group, with default handlers for the stop signals. The
/// memory of this process is not copied (vfork), so it is safe in a process whose memory MPI or
/// CUDA has registered; no file above stderr is inherited. Error::kData if it cannot be started
/// ("mpirun: No such file or directory").
pid_t start_process(const Command& command);

/// Exit code of a process that has ended (128 + signal if a signal ended it), or nothing while it
/// runs. 127 for a process that is not a child of this one.
std::optional<int> poll_exit_code(pid_t process);
/// The same, waiting for the end.
int wait_for_exit(pid_t process);

/// What a program printed, and its exit code.
struct CapturedOutput {
  int code = 0;
  std::string out, err;
};
/// Exit code of a program that run_captured had to kill after its timeout, as timeout(1) returns.
constexpr int kTimedOut = 124;
/// Runs a program until it ends, reading nothing, or for timeout_s seconds; then it is killed.
CapturedOutput run_captured(const std::vector<std::string>& argv, double timeout_s = 120);

/// A process of a host. The start time tells it from a later process with the same number.
struct ProcessId {
  std::string host;
  int64_t pid = 0;
  int64_t started = 0;  ///< clock ticks since boot
  bool operator==(const ProcessId&) const = default;
};
ProcessId this_process();
/// Whether the process runs; nothing for a process of another host.
std::optional<bool> is_alive(const ProcessId& process);

/// The words as one would type them in a shell; for display only.
std::string shell_text(const std::vector<std::string>& argv);
/// CPU cores that this process may use.
std::vector<int> own_cores();

/// Seconds since 1970.
double now_s();
/// Seconds of the steady clock: for durations and deadlines.
double steady_s();

}  // namespace dissent
