#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dissent::jobs {

/// Progress of a job according to its run folders, summed over the runs.
struct Progress {
  int64_t epoch = 0;      ///< completed epochs
  int64_t epochs = 0;     ///< epochs in total; 0: unknown
  int64_t step = 0;       ///< step of the current epoch in the first rank's heartbeat
  int64_t steps = 0;      ///< steps of an epoch; 0: unknown, or several runs
  double step_time = 0;   ///< time of that heartbeat, seconds since 1970
  double time = 0;        ///< when the last epoch ended, seconds since 1970; 0: unknown
  bool finished = false;  ///< according to provenance.json of every run
  std::string error;      ///< error of the first run that failed
  /// The last line of train.csv by column, for the first run that has one.
  std::map<std::string, std::string> last;
};
/// Reads progress.json, provenance.json, train.csv and heartbeat.0 of each run folder. Files that
/// are missing, or cannot be read at this moment, are left out; never an error.
Progress read_progress(const std::vector<std::string>& runs);

/// The last error line of a log: the last line "dissent: ...", else the last one that is neither a
/// progress report nor a launcher's message; "" if there is none. Only the last 64 KiB are read.
/// offset: first byte that counts; what is before it belongs to earlier starts.
std::string last_error_line(const std::string& path, int64_t offset = 0);
/// Size of a file; 0 if it does not exist.
int64_t file_bytes(const std::string& path);

}  // namespace dissent::jobs
