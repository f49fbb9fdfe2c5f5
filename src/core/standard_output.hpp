#pragma once
#include <string>

namespace dissent {

/// For the start of main. Printing to stdout and stderr never fails from here on: what cannot be
/// written (a full disk, a pipe that nobody reads) is left out, so that the work goes on, and
/// stdout's first error is kept for finish_output. Closed descriptors 0 to 2 are opened, on
/// nothing: a file of the program would get their number, and what is printed. SIGPIPE no longer
/// ends the process; programs that it starts have it as it was.
void prepare_output();

/// Whether something could not be written to stdout: for verbs that would go on for ever.
bool output_lost();

/// For the end of main: writes what is left. The code, or, where something that was printed could
/// not be written and the code is 0: exit_code(kData), after a line on stderr; where nobody read a
/// pipe to its end, the process ends by SIGPIPE, as others do (`dissent config train | head`).
int finish_output(int code);

}  // namespace dissent
