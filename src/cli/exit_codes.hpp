#pragma once
#include <string>

namespace dissent::cli {

// The table of core/exit_codes.hpp as text.

/// One line per exit code, for help texts.
std::string exit_codes_lines();

/// docs/exit_codes.md.
std::string exit_codes_page();

}  // namespace dissent::cli
