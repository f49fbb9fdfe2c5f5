#pragma once
#include <optional>
#include <string>

namespace dissent {

// The exit code of a launcher is not always that of its ranks: mpirun may exit with 0 after Slurm
// has stopped them, for example when a node fails. A program that runs for a sheet therefore
// records its own exit code: DISSENT_EXIT_RECORD names the file to which its first rank writes
// "running" once MPI is initialised, and the exit code at the end.

constexpr const char* kExitRecordVariable = "DISSENT_EXIT_RECORD";
/// Exit code in the record of a program that is still running or was killed.
constexpr int kNoExit = -1;

/// Writes the record. Failures to write the file are ignored: the program can do its work without.
class ExitRecord {
 public:
  /// Removes the variable from the environment, so that child processes do not inherit it.
  ExitRecord();
  /// Called by the rank that writes the record; `end` does nothing on other ranks.
  void begin();
  /// Replaces "running" by the exit code.
  void end(int code);

 private:
  std::string path_;
  bool begun_ = false;
};

/// Exit code in the record at this path, or kNoExit; nothing if the file does not exist, for
/// example because the launcher does not pass the environment on.
std::optional<int> read_exit_record(const std::string& path);

}  // namespace dissent
