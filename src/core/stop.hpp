#pragma once
#include <exception>
#include <string>

namespace dissent {

/// Makes SIGUSR1, SIGTERM and SIGINT set a flag, and do nothing else: what to do about it is
/// decided between steps. A second SIGINT (an impatient Ctrl-C) ends the process as if nothing
/// caught it. SIGINT stays ignored where it is, as in a script's background. (mpirun passes SIGUSR1
/// on to all ranks; it answers SIGTERM and SIGINT by killing them.)
void install_stop_handlers();

/// The same signals wait while they are held, also through exec: for a program that becomes another
/// one, which takes them up with install_stop_handlers.
void hold_stop_signals();
/// Lets them through again.
void release_stop_signals();

/// Whether `dissent VERB WORD` computes for long and can be stopped and started again, so that
/// these signals are to wait or be heard from its first moment on: train, cache, evaluate, jobs
/// pack.
bool can_be_stopped(const std::string& verb, const std::string& word);

/// True once one of these signals has arrived.
bool stop_requested();

/// A signal asked to stop, and what was done by then is kept. No error: exit code 75. Raised on one
/// rank it has to reach the others by agree().
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped by a signal"; }
};
/// Throws Stopped once a signal has arrived; between pieces of work that take a while.
void throw_if_stopped();

}  // namespace dissent
