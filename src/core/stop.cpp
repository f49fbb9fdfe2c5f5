#include "core/stop.hpp"

#include <csignal>

namespace dissent {
namespace {
volatile std::sig_atomic_t g_stop = 0;
void set_flag(int) { g_stop = 1; }

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGTERM);
  return set;
}
}  // namespace

void hold_stop_signals() {
  const auto set = stop_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
}

void install_stop_handlers() {
  struct sigaction action{};
  action.sa_handler = set_flag;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const auto set = stop_signals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

bool stop_requested() { return g_stop != 0; }

}  // namespace dissent
