#pragma once
#include <string>

namespace dissent {

/// Called at the start of main. Afterwards printing to stdout and stderr never fails: what cannot
/// be written (full disk, closed pipe) is dropped, so that the work continues, and the first error
/// of stdout is kept for finish_output. Closed descriptors 0 to 2 are opened on /dev/null;
/// otherwise a file of the program would get such a number and receive the printed text. SIGPIPE no
/// longer ends the process; child processes have the previous setting.
void prepare_output();

/// Whether something could not be written to stdout; for verbs that run until they are stopped.
bool output_lost();

/// Called at the end of main: flushes stdout and returns the exit code. If the code is 0 and
/// printed text could not be written, that is exit_code(kData), after a message on stderr; if a
/// pipe was closed by its reader, the process ends by SIGPIPE, as other programs do (`dissent
/// config train | head`).
int finish_output(int code);

}  // namespace dissent
