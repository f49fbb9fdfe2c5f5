#include "core/standard_output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <dissent/error.hpp>

namespace dissent {
namespace {

int g_output_error = 0;  // errno of the first failed write to stdout

// Writes everything; returns 0 or errno.
int write_all(int descriptor, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(descriptor, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return 0;
}

// For the C library every write succeeds.
ssize_t write_output(void*, const char* data, size_t size) {
  if (g_output_error == 0) g_output_error = write_all(STDOUT_FILENO, data, size);
  return static_cast<ssize_t>(size);
}
ssize_t write_error(void*, const char* data, size_t size) {
  write_all(STDERR_FILENO, data, size);
  return static_cast<ssize_t>(size);
}

FILE* stream_of(cookie_write_function_t* write_function, int buffering) {
  FILE* stream = fopencookie(nullptr, "w", {nullptr, write_function, nullptr, nullptr});
  if (stream) std::setvbuf(stream, nullptr, buffering, BUFSIZ);
  return stream;
}

void note_broken_pipe(int) {}  // the write reports it

}  // namespace

void prepare_output() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
      // Read-only, so that writing is still an error.
      static_cast<void>(open("/dev/null", O_RDONLY));  // gets the lowest free number

  // A handler instead of SIG_IGN, which child processes would inherit.
  struct sigaction action{};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    action.sa_handler = note_broken_pipe;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPIPE, &action, nullptr);
  }

  // Line buffering on a terminal, as the C library does by default.
  if (auto* stream = stream_of(write_output, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF))
    stdout = stream;
  if (auto* stream = stream_of(write_error, _IONBF)) stderr = stream;
}

bool output_lost() { return g_output_error != 0; }

int finish_output(int code) {
  std::fflush(stdout);
  if (g_output_error == 0 || code != 0) return code;

  // The reader of a pipe has closed it: end as a program that does not handle SIGPIPE, so that
  // shells see 141.
  if (g_output_error == EPIPE) {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }

  std::fputs(fmt::format("dissent: standard output: expected all text to be written, found: {}; "
                         "files of the command are complete\n",
                         std::strerror(g_output_error))
                 .c_str(),
             stderr);
  return exit_code(ErrorKind::kData);
}

}  // namespace dissent
