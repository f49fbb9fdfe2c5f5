#pragma once
#include <exception>
#include <string>

namespace dissent {

/// Installs handlers for SIGUSR1, SIGTERM and SIGINT that only set a flag; the program checks it
/// between steps. A second SIGINT (an impatient Ctrl-C) ends the process by the default action. If
/// SIGINT is ignored, as for background jobs of a script, it stays ignored. (mpirun forwards
/// SIGUSR1 to all ranks; on SIGTERM and SIGINT it kills them.)
void install_stop_handlers();

/// Blocks these signals, also across exec: for a program that executes another one, which unblocks
/// them with install_stop_handlers.
void hold_stop_signals();
/// Unblocks them.
void release_stop_signals();

/// Whether `dissent VERB WORD` runs for long and can be stopped and resumed, so that these signals
/// must be blocked or handled from its start: train, cache, evaluate, jobs pack.
bool can_be_stopped(const std::string& verb, const std::string& word);

/// True once one of these signals has arrived.
bool stop_requested();

/// The work was stopped by a signal, and its progress is saved. Not an error: exit code 75. When
/// raised on one rank it has to be passed to all ranks by agree().
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped by a signal"; }
};
/// Throws Stopped once a signal has arrived; called between pieces of long work.
void throw_if_stopped();

}  // namespace dissent
