#include "comm/mpi_info.hpp"

#include <fmt/format.h>

#include "comm/mpi.hpp"

namespace dissent {

std::string mpi_library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  DISSENT_MPI(MPI_Get_library_version(text, &length));
  const std::string whole(text, length);
  return whole.substr(0, whole.find_first_of(",\n"));
}

std::string mpi_standard() {
  int version = 0, subversion = 0;
  DISSENT_MPI(MPI_Get_version(&version, &subversion));
  return fmt::format("MPI {}.{}", version, subversion);
}

std::string mpi_thread_level() {
  int level = 0;
  DISSENT_MPI(MPI_Query_thread(&level));
  return level == MPI_THREAD_SINGLE       ? "single"
         : level == MPI_THREAD_FUNNELED   ? "funneled"
         : level == MPI_THREAD_SERIALIZED ? "serialized"
                                          : "multiple";
}

}  // namespace dissent
