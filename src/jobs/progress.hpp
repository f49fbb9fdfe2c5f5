#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dissent::jobs {

/// What the folders of a job's runs say, summed over them.
struct Progress {
  int64_t epoch = 0;      ///< epochs done
  int64_t epochs = 0;     ///< of so many; 0: not known
  int64_t step = 0;       ///< of the epoch under way, as the first rank's heartbeat says
  int64_t steps = 0;      ///< of so many; 0: not known, or several runs
  double step_time = 0;   ///< of that heartbeat, seconds since 1970
  double time = 0;        ///< when the last of them ended, seconds since 1970; 0: not known
  bool finished = false;  ///< provenance.json says so for every run
  std::string error;      ///< of the first run that failed
  std::map<std::string, std::string>
      last;  ///< the last line of train.csv, by column; of the first run that has one
};
Progress read_progress(const std::vector<std::string>& runs);

/// The last line of a log that says what went wrong: of lines "dissent: ..." the last, else the
/// last one that is no progress report. offset: where to begin.
std::string last_error_line(const std::string& path, int64_t offset = 0);
/// Bytes of a file; 0 if it is not there.
int64_t file_bytes(const std::string& path);

}  // namespace dissent::jobs
