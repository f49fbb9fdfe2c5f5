#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace dissent {

/// Progress of long work, shown by one rank: a line that is redrawn on a terminal (about 5 times
/// per second), else a plain line every `plain_every_s` seconds and at the end.
class ProgressBar {
 public:
  /// total: units of the whole work; unit: name of a unit ("rows"). silent: print nothing.
  ProgressBar(std::string title, int64_t total, std::string unit, bool silent,
              double plain_every_s = 10);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// `done` units are finished; `detail` is shown after them ("epoch 3 step 120 loss 0.512").
  void update(int64_t done, const std::string& detail);
  /// Prints the final state and ends the line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(int64_t done, const std::string& detail) const;
  std::string title_;
  int64_t total_;
  std::string unit_;
  bool silent_, terminal_, open_ = false;
  double plain_every_s_;
  Clock::time_point start_, last_;
  int64_t done_ = 0;
  std::string detail_;
};

/// "1:23:45" or "2:05".
std::string duration_text(double seconds);

}  // namespace dissent
