#pragma once
#include <string>

namespace dissent {

/// The MPI library that this process runs with: "Open MPI v4.1.4". MPI has to be started.
std::string mpi_library();
/// "MPI 3.1", of the library.
std::string mpi_standard();
/// What MPI gave when it was started: "single", "funneled", "serialized" or "multiple".
std::string mpi_thread_level();

}  // namespace dissent
