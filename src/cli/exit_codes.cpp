#include "cli/exit_codes.hpp"

#include <string>

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "core/exit_codes.hpp"

namespace dissent::cli {
namespace {

const char* result_text(JobResult result) {
  switch (result) {
    case JobResult::kDone: return "done";
    case JobResult::kFailed: return "failed";
    case JobResult::kRetried: return "started again, at most `retries` times";
    case JobResult::kContinued: return "queued again, resumes from the checkpoint";
  }
  return "?";
}

// What the table has no room for. {0}: kCheck, {1}: kMemory, {2}: kExitStopped, {3}: kData.
constexpr const char* kNotes =
    "Exit code {0} comes from `verify` (a case differs), `doctor` (a check failed), `replay` "
    "(something differs) and `jobs run` (a job failed).\n\n"
    "With exit code {1} the error line says how much memory was requested, how much is free and "
    "what would need less. A batch system may kill the process earlier (137).\n\n"
    "Exit code {2} is EX_TEMPFAIL of sysexits.h: start the same command again, on any split of the "
    "members over ranks. `train`, `cache` and `evaluate` end with it on\n"
    "SIGUSR1, SIGTERM and SIGINT (Ctrl-C; a second one ends the program at once).\n\n"
    "Under mpirun, send SIGUSR1 to mpirun: it forwards the signal to the ranks and returns their "
    "{2}. On SIGTERM and SIGINT mpirun kills the ranks after one second and\n"
    "returns 1 or 128 + n, so the run continues from its last checkpoint. The batch scripts of "
    "slurm/ and `dissent jobs` send SIGUSR1 instead.\n\n"
    "If stdout cannot be written (a full disk, a closed descriptor), the exit code is {3} instead "
    "of 0, after all other work is done. If the reader of a pipe closes\n"
    "it, the program ends by SIGPIPE (141), also after all other work is done.\n\n"
    "77 is used only by skipped tests.\n";

}  // namespace

std::string exit_codes_lines() {
  std::string text;
  for (const auto& row : exit_codes()) text += fmt::format("  {:<10}{}\n", row.code, row.meaning);
  return text;
}

std::string exit_codes_page() {
  // The numbers in the prose come from the enumeration too, so that page and program cannot differ.
  std::string text =
      "# Exit codes\n\n"
      "Written by `scripts/generate_docs` from the output of `dissent config exit-codes`; do not "
      "edit. The table is src/core/exit_codes.cpp.\n\n"
      "| code | meaning | job of `dissent jobs` |\n|---|---|---|\n";
  for (const auto& row : exit_codes())
    text += fmt::format("| {} | {} | {} |\n", row.code, row.meaning, result_text(row.job));
  text += fmt::format(
      "| 128 + n | ended by signal n (137: killed, often because of too little memory) | {} |\n\n",
      result_text(job_result(kExitBySignal + 9)));

  return text + fmt::format(kNotes, exit_code(ErrorKind::kCheck), exit_code(ErrorKind::kMemory),
                            kExitStopped, exit_code(ErrorKind::kData));
}

}  // namespace dissent::cli
