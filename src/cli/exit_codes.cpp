#include "cli/exit_codes.hpp"

#include <fmt/format.h>

#include <dissent/error.hpp>

namespace dissent::cli {

const std::vector<ExitCode>& exit_codes() {
  static const std::vector<ExitCode> table{
      {0, "done", "done"},
      {exit_code(ErrorKind::kInternal), "a defect of the program, which asks for a report",
       "failed"},
      {exit_code(ErrorKind::kUsage), "wrong usage or configuration", "failed"},
      {exit_code(ErrorKind::kData), "bad or missing data, or a full disk", "failed"},
      {exit_code(ErrorKind::kComm), "communication or device failure",
       "started again, `retries` times at most"},
      {exit_code(ErrorKind::kCheck), "a check failed", "failed"},
      {exit_code(ErrorKind::kMemory), "not enough memory, of the host or of a GPU", "failed"},
      {75, "stopped on a signal, what was done is kept (checkpoint, shards)", "goes on from there"},
  };
  return table;
}

std::string exit_codes_lines() {
  std::string text;
  for (const auto& row : exit_codes()) text += fmt::format("  {:<10}{}\n", row.code, row.meaning);
  return text;
}

std::string exit_codes_page() {
  std::string text =
      "# Exit codes\n\n"
      "Written by `scripts/generate_docs` from what `dissent config exit-codes` prints; do not "
      "edit.\n\n"
      "| code | meaning | a row of `dissent jobs` |\n|---|---|---|\n";
  for (const auto& row : exit_codes())
    text += fmt::format("| {} | {} | {} |\n", row.code, row.meaning, row.jobs);
  return text +
         "| 128 + n | ended by signal n (137: killed, often for want of memory) | started again, "
         "`retries` times at most |\n\n"
         "5 comes of `verify` (a case does not hold), `doctor` (a check failed), `replay` "
         "(something differs) and `jobs run` (a row failed).\n"
         "6 says how much was asked for, how much is free and what needs less; a batch system may "
         "kill "
         "the process (137) before.\n"
         "75 is EX_TEMPFAIL of sysexits.h: start the same command again, on any split of the "
         "members over ranks. `train`, `cache` and `evaluate` end so on SIGUSR1, SIGTERM and "
         "SIGINT (Ctrl-C;\n"
         "a second one ends at once).\n"
         "Under mpirun send SIGUSR1, to mpirun, which passes it on and ends with the ranks' 75. "
         "SIGTERM and SIGINT it answers by killing the ranks after a second, and ends with 1 or "
         "128 + n, whatever\n"
         "they wrote: the run goes on from the checkpoint before. The batch scripts of slurm/ and "
         "`dissent jobs` send SIGUSR1 in their place.\n"
         "What is printed and cannot be written to stdout (a full disk, a closed descriptor) makes "
         "3 of "
         "0, after all else is done; a pipe that its reader closes ends the program by SIGPIPE "
         "(141), then too.\n"
         "Tests end with 77 where they are skipped; programs never do.\n";
}

}  // namespace dissent::cli
