#pragma once
#include <string>
#include <vector>

namespace dissent::cli {

/// One exit code of the program.
struct ExitCode {
  int code;
  std::string meaning;  ///< in a few words
  std::string jobs;     ///< what `dissent jobs` makes of a row that ends with it
};

/// All of them, in the order of their numbers; those of errors are exit_code(ErrorKind).
const std::vector<ExitCode>& exit_codes();

/// A line each, for help.
std::string exit_codes_lines();

/// docs/exit_codes.md.
std::string exit_codes_page();

}  // namespace dissent::cli
