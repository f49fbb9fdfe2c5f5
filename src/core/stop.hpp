#pragma once

namespace dissent {

/// Makes SIGUSR1 and SIGTERM set a flag, and do nothing else: what to do about it is decided
/// between steps. (mpirun passes SIGUSR1 on to all ranks; it answers SIGTERM by killing them.)
void install_stop_handlers();

/// True once one of these signals has arrived.
bool stop_requested();

}  // namespace dissent
