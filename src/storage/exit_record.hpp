#pragma once
#include <optional>
#include <string>

namespace dissent {

// The exit code of a launcher is not always that of its ranks: mpirun may end with 0 after Slurm
// has stopped them, as it does when a node fails. So a program that runs for a sheet says itself
// how it ended: DISSENT_EXIT_RECORD names the file where its first rank writes "running" as soon as
// MPI is there, and its exit code at the end.

constexpr const char* kExitRecordVariable = "DISSENT_EXIT_RECORD";
/// What a record says of a program that has not come to its end, or was killed before.
constexpr int kNoExit = -1;

/// The program's side: one record a process. Trouble with the file is passed over, since the work
/// goes on without it.
class ExitRecord {
 public:
  /// Takes the variable out of the environment, so that what the program starts has none.
  ExitRecord();
  /// By the rank that keeps the record; the others' `end` does nothing.
  void begin();
  void end(int code);

 private:
  std::string path_;
  bool begun_ = false;
};

/// What the record at this path says: an exit code, or kNoExit; nothing where there is none, as
/// where a launcher does not pass the environment on.
std::optional<int> read_exit_record(const std::string& path);

}  // namespace dissent
