#include "core/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include <dissent/error.hpp>

extern char** environ;

namespace dissent {
namespace {

// A file descriptor that is closed at the end of its scope; -1: none.
class File {
 public:
  explicit File(int descriptor = -1) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  ~File() { close(); }
  int get() const { return descriptor_; }
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }

 private:
  int descriptor_;
};

File open_file(const std::string& path, int flags) {
  if (path.empty()) return File();
  File file(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  DISSENT_CHECK(file.get() >= 0, kData, "{}: cannot open: {}", path, std::strerror(errno));
  return file;
}

// Descriptors that become 0, 1 and 2 of a new process; -1: those of this one.
struct StandardFiles {
  int in = -1, out = -1, err = -1;
};

// "NAME=value" of this process's environment, with the command's settings on top.
std::vector<std::string> environment_of(const Command& command) {
  std::map<std::string, std::string> variables;
  for (char** at = environ; *at; ++at) {
    const std::string entry = *at;
    variables[entry.substr(0, entry.find('='))] = entry;
  }

  // Each name occurs once: a program may take the first or the last of two entries.
  for (const auto& [name, value] : command.environment) variables[name] = name + "=" + value;

  std::vector<std::string> entries;
  entries.reserve(variables.size());
  for (auto& [name, entry] : variables) entries.push_back(std::move(entry));
  return entries;
}

// As exec takes them; valid as long as `texts`.
std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const auto& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Everything that the child needs between vfork and exec, prepared before: the child shares the
// memory of this process until exec, so it may neither allocate nor change anything but `error`.
struct Child {
  const Command& command;
  const StandardFiles& files;
  std::vector<char*> argv, environment;
  cpu_set_t cores;
  pid_t parent;
  volatile int error = 0;  // errno of what failed

  [[noreturn]] void become_program() {
    // Its own group, so that one signal reaches a launcher and all that it started.
    if (command.own_session)
      setsid();
    else
      setpgid(0, 0);

    if (command.dies_with_parent) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) _exit(127);  // the parent ended before the line above
    }
    if (!command.cores.empty()) sched_setaffinity(0, sizeof cores, &cores);

    if (files.in >= 0) dup2(files.in, STDIN_FILENO);
    if (files.out >= 0) dup2(files.out, STDOUT_FILENO);
    if (files.err >= 0) dup2(files.err, STDERR_FILENO);
#ifdef SYS_close_range
    syscall(SYS_close_range, 3U, ~0U, 0U);  // files of libraries that were opened without O_CLOEXEC
#endif

    // The program starts with usual signal handling, whatever this process holds or ignores.
    for (const int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGPIPE}) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);

    execvpe(argv[0], argv.data(), environment.data());
    error = errno;
    _exit(127);
  }
};

// The only place that starts processes. vfork: a fork would copy page tables and, where MPI or CUDA
// registered memory, break it. All signals are blocked meanwhile, because a handler that ran in the
// child would change memory of this process.
pid_t start_with(const Command& command, const StandardFiles& files) {
  const auto entries = environment_of(command);
  Child child{command, files, pointers_to(command.argv), pointers_to(entries), {}, getpid()};
  CPU_ZERO(&child.cores);
  for (const int core : command.cores) CPU_SET(core, &child.cores);

  // From here on no memory may be allocated until the child has become the program.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t process = vfork();
  if (process == 0) child.become_program();
  const int vfork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);

  // The child has reported its errno through the shared memory; a child that failed is collected,
  // or it would stay as a zombie.
  const int error = process < 0 ? vfork_error : child.error;
  if (process > 0 && error != 0) waitpid(process, nullptr, 0);
  DISSENT_CHECK(error == 0, kData, "cannot start {}: {}", command.argv[0], std::strerror(error));
  return process;
}

int code_of_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The 22nd field of /proc/<pid>/stat, clock ticks since boot; 0 if there is no such process or it
// is a zombie.
int64_t start_ticks(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  // The second field is the program's name in parentheses, which may contain spaces.
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;

  // A pid alone may belong to a later process; with the start time it names one.
  std::istringstream fields(text.substr(name_end + 1));
  std::string field, state;
  for (int i = 3; i <= 22 && fields >> field; ++i)
    if (i == 3) state = field;
  const bool ended = state == "Z" || state == "X";
  return ended || !fields ? 0 : std::atoll(field.c_str());
}

struct Pipe {
  File read_end, write_end;
};
Pipe make_pipe(const std::string& program) {
  std::array<int, 2> ends{};
  DISSENT_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, kData, "cannot start {}: {}", program,
                std::strerror(errno));
  return {File(ends[0]), File(ends[1])};
}

// Appends what can be read now; false at the end of the pipe.
bool read_some(int descriptor, std::string& text) {
  std::array<char, 1 << 14> buffer;
  const ssize_t count = read(descriptor, buffer.data(), buffer.size());
  if (count > 0) text.append(buffer.data(), static_cast<size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

}  // namespace

pid_t start_process(const Command& command) {
  constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND;
  const File in = open_file(command.in, O_RDONLY), out = open_file(command.out, kAppend);
  // One description of a file for both streams keeps their order.
  const bool one_file = command.err == command.out;
  const File err = one_file ? File() : open_file(command.err, kAppend);
  return start_with(command, {in.get(), out.get(), one_file ? out.get() : err.get()});
}

std::optional<int> poll_exit_code(pid_t process) {
  int status = 0;
  const pid_t found = waitpid(process, &status, WNOHANG);
  if (found == process) return code_of_status(status);
  if (found < 0 && errno == ECHILD) return 127;
  return std::nullopt;
}

int wait_for_exit(pid_t process) {
  int status = 0;
  pid_t found = -1;
  do {
    found = waitpid(process, &status, 0);
  } while (found < 0 && errno == EINTR);
  return found == process ? code_of_status(status) : 127;
}

namespace {
// Whether a child has ended; wait_for_exit can still ask for its code.
bool has_ended(pid_t process) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid != 0;
}
}  // namespace

CapturedOutput run_captured(const std::vector<std::string>& argv, double timeout_s) {
  Pipe out = make_pipe(argv[0]), err = make_pipe(argv[0]);
  const File nothing = open_file("/dev/null", O_RDONLY);

  const pid_t process =
      start_with({.argv = argv}, {nothing.get(), out.write_end.get(), err.write_end.get()});

  // Only the program keeps the write ends: while one is open here, reading never reaches the end.
  out.write_end.close();
  err.write_end.close();

  // Both pipes are emptied as they fill: a program that waits for room in one would never end.
  CapturedOutput output;
  const double end = steady_s() + timeout_s;
  std::array<pollfd, 2> waiting{pollfd{out.read_end.get(), POLLIN, 0},
                                pollfd{err.read_end.get(), POLLIN, 0}};
  while ((waiting[0].fd >= 0 || waiting[1].fd >= 0) && steady_s() < end) {
    if (poll(waiting.data(), waiting.size(), 200) <= 0) continue;
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      auto& text = i == 0 ? output.out : output.err;
      if (!read_some(waiting[i].fd, text)) waiting[i].fd = -1;
    }
  }

  // A program may close its output and continue to run: its end is waited for under the same limit.
  while (!has_ended(process) && steady_s() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));

  // The whole process group: a launcher that is killed alone would leave its ranks running.
  const bool timed_out = steady_s() >= end;
  if (timed_out) kill(-process, SIGKILL);
  output.code = wait_for_exit(process);
  if (timed_out) output.code = kTimedOut;
  return output;
}

ProcessId this_process() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  return {host, getpid(), start_ticks(getpid())};
}

std::optional<bool> is_alive(const ProcessId& process) {
  if (process.pid <= 0 || process.host != this_process().host) return std::nullopt;
  return process.started != 0 && start_ticks(process.pid) == process.started;
}

std::string shell_text(const std::vector<std::string>& argv) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=:,+%@-";
  std::string text;
  for (const auto& word : argv) {
    if (!text.empty()) text += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      text += word;
      continue;
    }

    // Inside single quotes a shell changes nothing; a single quote itself is written as '\''.
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

std::vector<int> own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double steady_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace dissent
