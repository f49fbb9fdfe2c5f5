#pragma once

namespace dissent {

/// Makes SIGUSR1 and SIGTERM set a flag, and do nothing else: what to do about it is decided
/// between steps. (mpirun passes SIGUSR1 on to all ranks; it answers SIGTERM by killing them.)
void install_stop_handlers();

/// The same signals wait while they are held, also through exec: for a program that becomes another
/// one, which takes them up with install_stop_handlers.
void hold_stop_signals();

/// True once one of these signals has arrived.
bool stop_requested();

}  // namespace dissent
