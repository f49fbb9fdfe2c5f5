#include "core/stop.hpp"

#include <csignal>

namespace dissent {
namespace {
volatile std::sig_atomic_t g_stop = 0;
volatile std::sig_atomic_t g_interrupted = 0;
void set_flag(int number) {
  // Only flags are set: a handler may interrupt anything, and the loops test the flag between
  // steps.
  if (number == SIGINT && g_interrupted) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);  // delivered when this handler returns
  }
  if (number == SIGINT) g_interrupted = 1;
  g_stop = 1;
}

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&set, number);
  return set;
}
}  // namespace

void hold_stop_signals() {
  const auto set = stop_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

void release_stop_signals() {
  const auto set = stop_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void install_stop_handlers() {
  struct sigaction action{};
  action.sa_handler = set_flag;
  sigemptyset(&action.sa_mask);
  // Interrupted system calls are restarted: the flag is read between steps, not by libraries.
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  // A process in the background of a shell ignores SIGINT; that stays so.
  struct sigaction before{};
  sigaction(SIGINT, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGINT, &action, nullptr);

  release_stop_signals();
}

bool can_be_stopped(const std::string& verb, const std::string& word) {
  return verb == "train" || verb == "cache" || verb == "evaluate" ||
         (verb == "jobs" && word == "pack");
}

bool stop_requested() { return g_stop != 0; }

void throw_if_stopped() {
  if (stop_requested()) throw Stopped();
}

}  // namespace dissent
