#include "jobs/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <dissent/error.hpp>

#include "core/program_paths.hpp"

namespace dissent::jobs {
namespace {

// What the child does between fork and exec; only calls that are safe there. Returns the system's
// reason if it fails.
struct Child {
  std::vector<char*> argv;
  const Command& command;
  int out = -1, err = -1;
  pid_t parent = 0;

  [[noreturn]] void become(int report) const {
    setpgid(0, 0);
    if (command.dies_with_parent) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != parent) _exit(127);
    }
    if (!command.cores.empty()) {
      cpu_set_t set;
      CPU_ZERO(&set);
      for (const int core : command.cores) CPU_SET(core, &set);
      sched_setaffinity(0, sizeof set, &set);
    }
    if (out >= 0) dup2(out, STDOUT_FILENO);
    if (err >= 0) dup2(err, STDERR_FILENO);
    for (const int number : {SIGUSR1, SIGTERM, SIGINT}) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const auto& [name, value] : command.environment)
      setenv(name.c_str(), value.c_str(), 1);  // this process has one thread
    execvp(argv[0], argv.data());
    const int code = errno;
    if (write(report, &code, sizeof code) < 0) _exit(126);
    _exit(127);
  }
};

int append_to(const std::string& path) {
  if (path.empty()) return -1;
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  DISSENT_CHECK(file >= 0, kData, "{}: cannot open: {}", path, std::strerror(errno));
  return file;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The 22nd field of /proc/<pid>/stat, clock ticks since boot; 0 if there is no such process.
int64_t start_of(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field, state;
  for (int i = 3; i <= 22 && fields >> field; ++i)
    if (i == 3) state = field;
  return state == "Z" || state == "X" || !fields ? 0 : std::atoll(field.c_str());
}

pid_t start_with(const Command& command, int out, int err) {
  Child child{{}, command, out, err, getpid()};
  for (const auto& word : command.argv) child.argv.push_back(const_cast<char*>(word.c_str()));
  child.argv.push_back(nullptr);
  int report[2];
  DISSENT_CHECK(pipe2(report, O_CLOEXEC) == 0, kData, "cannot start {}: {}", command.argv[0],
                std::strerror(errno));
  const pid_t process = fork();
  if (process == 0) child.become(report[1]);
  const int fork_error = errno;
  close(report[1]);
  int code = process < 0 ? fork_error : 0;
  if (process > 0) {
    setpgid(process, process);
    if (read(report[0], &code, sizeof code) > 0)
      waitpid(process, nullptr, 0);
    else
      code = 0;
  }
  close(report[0]);
  DISSENT_CHECK(code == 0, kData, "cannot start {}: {}", command.argv[0], std::strerror(code));
  return process;
}

}  // namespace

pid_t start(const Command& command) {
  const int out = append_to(command.out),
            err = command.err == command.out ? out : append_to(command.err);
  const auto close_both = [&] {
    if (out >= 0) close(out);
    if (err >= 0 && err != out) close(err);
  };
  try {
    const pid_t process = start_with(command, out, err);
    close_both();
    return process;
  } catch (...) {
    close_both();
    throw;
  }
}

std::optional<int> ended(pid_t process, bool block) {
  int status = 0;
  pid_t got;
  do got = waitpid(process, &status, block ? 0 : WNOHANG);
  while (got < 0 && errno == EINTR && block);
  if (got == process) return exit_code_of(status);
  return got < 0 && errno == ECHILD ? std::optional<int>(127) : std::nullopt;
}

Output run_captured(const std::vector<std::string>& argv, double timeout_s) {
  std::array<std::array<int, 2>, 2> pipes;
  for (auto& ends : pipes)
    DISSENT_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, kData, "cannot start {}: {}", argv[0],
                  std::strerror(errno));
  Output output;
  pid_t process = -1;
  try {
    process = start_with({.argv = argv}, pipes[0][1], pipes[1][1]);
  } catch (...) {
    for (auto& ends : pipes) close(ends[0]), close(ends[1]);
    throw;
  }
  for (auto& ends : pipes) close(ends[1]);
  const double end = now_s() + timeout_s;
  std::array<pollfd, 2> waiting{pollfd{pipes[0][0], POLLIN, 0}, pollfd{pipes[1][0], POLLIN, 0}};
  while ((waiting[0].fd >= 0 || waiting[1].fd >= 0) && now_s() < end) {
    if (poll(waiting.data(), 2, 200) <= 0) continue;
    for (size_t i = 0; i < 2; ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      char buffer[1 << 14];
      const ssize_t count = read(waiting[i].fd, buffer, sizeof buffer);
      if (count > 0)
        (i == 0 ? output.out : output.err).append(buffer, static_cast<size_t>(count));
      else if (count == 0 || errno != EINTR)
        waiting[i].fd = -1;
    }
  }
  for (auto& ends : pipes) close(ends[0]);
  if (now_s() >= end) kill(-process, SIGKILL);
  output.code = *ended(process, true);
  if (now_s() >= end) output.code = 124;
  return output;
}

ProcessName this_process() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  return {host, getpid(), start_of(getpid())};
}

std::optional<bool> is_alive(const ProcessName& process) {
  if (process.pid <= 0 || process.host != this_process().host) return std::nullopt;
  return start_of(process.pid) == process.started && process.started != 0;
}

std::string program_path() { return front_program(); }

std::string shown(const std::vector<std::string>& argv) {
  std::string text;
  for (const auto& word : argv) {
    const bool plain =
        !word.empty() &&
        word.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=:,+%@-") ==
            std::string::npos;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += (text.empty() ? "" : " ") + (plain ? word : quoted + "'");
  }
  return text;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<int> own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

}  // namespace dissent::jobs
