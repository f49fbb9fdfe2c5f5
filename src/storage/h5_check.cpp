#include "storage/h5_check.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <dissent/error.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <set>
#include <system_error>
#include <tuple>

#include "core/program_paths.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr const char* kProgram = "dissent-h5check";
constexpr size_t kMostMessage = 512;

// Standard output of the child, and its status from waitpid.
struct ChildEnd {
  std::string output;
  int status = 0;
};

// posix_spawn, not fork: this process may hold MPI's memory and threads. Signals sent to the
// process group (Slurm's USR1, a terminal's INT) are not meant for the child: it blocks them.
ChildEnd run_child(const std::string& program, const std::string& path) {
  int ends[2];
  DISSENT_CHECK(::pipe2(ends, O_CLOEXEC) == 0, kData, "{}: cannot be checked: {}", path,
                std::generic_category().message(errno));

  // The child reads nothing and writes its finding to the pipe; messages of HDF5 on standard error
  // are dropped.
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], 1);
  posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);

  // All signals blocked but those that report a crash or the processor time limit.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t blocked, defaults;
  sigfillset(&blocked);
  sigfillset(&defaults);
  for (const int fatal : {SIGXCPU, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    sigdelset(&blocked, fatal);
  posix_spawnattr_setsigmask(&attributes, &blocked);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::string texts[] = {program, path};
  char* arguments[] = {texts[0].data(), texts[1].data(), nullptr};
  pid_t child = -1;
  const int code = ::posix_spawn(&child, program.c_str(), &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);

  // The parent's copy of the writing end: while it is open, the pipe would not end.
  ::close(ends[1]);

  // Read until the child closes its end. What exceeds kMostMessage is drained, so that the child
  // never blocks in its write.
  ChildEnd end;
  char buffer[kMostMessage];
  for (ssize_t count = 0; code == 0;) {
    count = ::read(ends[0], buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    if (end.output.size() < kMostMessage) end.output.append(buffer, static_cast<size_t>(count));
  }
  ::close(ends[0]);

  // A child that was started is always waited for, or it would stay as a zombie.
  DISSENT_CHECK(code == 0, kUsage, "{}: cannot be started: {}", program,
                std::generic_category().message(code));

  while (::waitpid(child, &end.status, 0) < 0)
    DISSENT_CHECK(errno == EINTR, kInternal, "{}: waiting for it: {}", program,
                  std::generic_category().message(errno));
  return end;
}

// Identifies the contents of a file until it is changed.
using FileState = std::tuple<dev_t, ino_t, off_t, time_t, long>;

}  // namespace

void check_h5_in_child(const std::string& path) {
  static std::mutex mutex;
  static std::set<FileState> good;
  struct stat status{};
  DISSENT_CHECK(::stat(path.c_str(), &status) == 0, kData, "{}: cannot read its status: {}", path,
                std::generic_category().message(errno));

  // Files that passed are remembered; a change of size or time gives another state. The lock is
  // held while the child runs, so that threads that open the same file wait for one check.
  const FileState state{status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                        status.st_mtim.tv_nsec};
  const std::lock_guard lock(mutex);
  if (good.contains(state)) return;

  const auto end = run_child(helper_program(kProgram), path);

  // Death by a signal: SIGXCPU and SIGKILL come from the limit of processor time, all others are
  // crashes inside HDF5.
  if (WIFSIGNALED(end.status)) {
    const int signal = WTERMSIG(end.status);
    const auto how = signal == SIGXCPU || signal == SIGKILL
                         ? fmt::format("does not finish within {} s", kH5CheckSeconds)
                         : fmt::format("crashes ({})", ::strsignal(signal));
    DISSENT_FAIL(
        kData,
        "{}: expected an HDF5 file, found a damaged one: HDF5 {} while reading it; copy it "
        "again, or recreate it",
        path, how);
  }

  // Otherwise the child has written its finding to its standard output.
  DISSENT_CHECK(WEXITSTATUS(end.status) == 0, kData, "{}: expected an HDF5 file, found {}", path,
                end.output.empty() ? "one that cannot be read: " + std::string(kProgram) +
                                         fmt::format(" exited with {}", WEXITSTATUS(end.status))
                                   : end.output);
  good.insert(state);
}

}  // namespace dissent
