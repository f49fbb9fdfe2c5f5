#pragma once
#include <string>

namespace dissent {

// The program is two files: `dissent`, which users start, and `dissent-compute`, which it becomes
// for what needs LibTorch. They lie side by side (a build folder), or as bin/dissent and
// libexec/dissent/dissent-compute (an installed tree).

/// The file of the running program.
std::string running_program();
/// `dissent` that belongs to the running program; the running one itself where there is none.
std::string front_program();
/// `dissent-compute` that belongs to the running program. Error::kUsage that names the places where
/// it was looked for.
std::string compute_program();
/// A small program that the running one starts for a part of its work ("dissent-h5check"): beside
/// it, in the folder above (tests of a build folder), or in libexec/dissent. Error::kUsage as
/// above.
std::string helper_program(const std::string& name);

}  // namespace dissent
