#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dissent::jobs {

/// A process to start. Arguments go to exec as they are: no shell reads them.
struct Command {
  std::vector<std::string> argv;  ///< argv[0] is looked for in PATH
  std::vector<std::pair<std::string, std::string>> environment =
      {};                          ///< set on top of this process's
  std::string out = {}, err = {};  ///< files to append to; empty: this process's
  std::vector<int> cores = {};     ///< it may use these only; empty: all
  bool dies_with_parent = true;    ///< it gets SIGTERM if this process ends before it
};

/// Starts it in a process group of its own. Error::kData if it cannot be started ("mpirun: No such
/// file or directory").
pid_t start(const Command& command);
/// Exit code of a process that has ended (128 + signal if a signal ended it); nothing while it
/// runs. Waits if `block`.
std::optional<int> ended(pid_t process, bool block = false);

/// What a program printed and how it ended.
struct Output {
  int code = 0;
  std::string out, err;
};
/// Runs to its end, or for timeout_s seconds (then it is killed, code 124).
Output run_captured(const std::vector<std::string>& argv, double timeout_s = 120);

/// This process, or another one of this host: number and when it started, so that a number used
/// again is not taken for it.
struct ProcessName {
  std::string host;
  int64_t pid = 0;
  int64_t started = 0;
  bool operator==(const ProcessName&) const = default;
};
ProcessName this_process();
/// True or false where it can be known: for processes of this host.
std::optional<bool> is_alive(const ProcessName& process);

/// The program that a job is started with: `dissent` of the running one.
std::string program_path();
/// The words as a user would type them in a shell; for showing only.
std::string shown(const std::vector<std::string>& argv);
/// Seconds since 1970.
double now_s();
/// Cores that this process may use.
std::vector<int> own_cores();

}  // namespace dissent::jobs
