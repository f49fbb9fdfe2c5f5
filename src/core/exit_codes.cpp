#include "core/exit_codes.hpp"

#include <vector>

#include <dissent/error.hpp>

namespace dissent {

const std::vector<ExitCode>& exit_codes() {
  // The last column decides what `dissent jobs` does with a job that ended so. Only failures that
  // another attempt may not have are retried.
  static const std::vector<ExitCode> table{
      {0, "success", JobResult::kDone},
      {exit_code(ErrorKind::kInternal), "a defect of the program; please report it",
       JobResult::kFailed},
      {exit_code(ErrorKind::kUsage), "wrong usage or configuration", JobResult::kFailed},
      {exit_code(ErrorKind::kData), "bad or missing data, or a full disk", JobResult::kFailed},
      {exit_code(ErrorKind::kComm), "communication or device failure, or a timeout",
       JobResult::kRetried},
      {exit_code(ErrorKind::kCheck), "a check failed", JobResult::kFailed},
      {exit_code(ErrorKind::kMemory), "not enough memory, on the host or on a GPU",
       JobResult::kFailed},
      {kExitStopped, "stopped by a signal; finished work is kept (checkpoint, shards)",
       JobResult::kContinued},
  };
  return table;
}

JobResult job_result(int code) {
  if (code >= kExitBySignal) return JobResult::kRetried;
  for (const auto& known : exit_codes())
    if (known.code == code) return known.job;
  return JobResult::kFailed;
}

}  // namespace dissent
