#pragma once
#include <vector>

namespace dissent {

// The exit codes of the program. The codes of errors are the values of ErrorKind
// (dissent/error.hpp). Everything else about exit codes is defined here; help texts,
// docs/exit_codes.md and `dissent jobs` use this table.

/// A signal stopped the run and its work so far is kept; the same command continues it. EX_TEMPFAIL
/// of sysexits.h.
inline constexpr int kExitStopped = 75;

/// Shells and launchers report a process that signal n ended as 128 + n.
inline constexpr int kExitBySignal = 128;

/// What `dissent jobs` does with a job that ended with a code.
enum class JobResult {
  kDone,       ///< the job is finished
  kFailed,     ///< the job would fail in the same way again
  kRetried,    ///< another attempt may succeed: it is started again, at most `retries` times
  kContinued,  ///< it is queued again and continues from its checkpoint
};

struct ExitCode {
  int code;
  const char* meaning;
  JobResult job;
};

/// All exit codes of the program in increasing order, without those of signals.
const std::vector<ExitCode>& exit_codes();

/// Also for the codes of signals (retried), and for codes of other programs (failed).
JobResult job_result(int code);

}  // namespace dissent
