#pragma once
#include <string>

namespace dissent {

// The program has two files: `dissent`, which users start, and `dissent-compute`, which it executes
// for everything that needs LibTorch. They are in the same folder (a build folder), or at
// bin/dissent and libexec/dissent/dissent-compute (an installed tree).

/// The file of the running program.
std::string running_program();
/// The `dissent` that belongs to the running program; the running one itself if there is none.
std::string front_program();
/// The `dissent-compute` that belongs to the running program. Error::kUsage with the places that
/// were searched.
std::string compute_program();
/// A small program that the running one starts for a part of its work ("dissent-h5check"): in the
/// same folder, in the parent folder (tests of a build folder), or in libexec/dissent.
/// Error::kUsage as above.
std::string helper_program(const std::string& name);

}  // namespace dissent
