#pragma once
#include <string>

namespace dissent {

/// The MPI library of this process: "Open MPI v4.1.4". MPI has to be initialised.
std::string mpi_library();
/// The version of the standard that the library implements: "MPI 3.1".
std::string mpi_standard();
/// The thread level that MPI provides: "single", "funneled", "serialized" or "multiple".
std::string mpi_thread_level();

}  // namespace dissent
