#include "train/run/heartbeat.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/runtime.hpp"
#include "storage/run_folder.hpp"

namespace dissent {
namespace {

// Written at once into one block: a reader sees the old record or the new one.
constexpr int kRecordBytes = 256;

// Waiting ranks call beat() once per second. The interval is a little shorter, so that no call is
// dropped because it comes a moment early.
constexpr auto kInterval = std::chrono::milliseconds(900);
// Two heartbeats of a waiting rank, and some delay on a busy machine.
constexpr double kSilentSeconds = 2.5;

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string path_of(const std::string& folder, int rank) {
  return folder + "/" + heartbeat_name(rank);
}

// The record of a heartbeat file.
struct Beat {
  int rank = 0;
  double time = 0;  // Unix seconds
  int64_t epoch = 0, step = 0;
  std::string host;
};

std::vector<Beat> read_beats(const std::string& folder, int ranks) {
  std::vector<Beat> beats;
  for (int rank = 0; rank < ranks; ++rank) {
    std::ifstream file(path_of(folder, rank));

    Beat beat;
    beat.rank = rank;
    if (file >> beat.time >> beat.epoch >> beat.step >> beat.host) beats.push_back(beat);
  }
  return beats;
}

}  // namespace

Heartbeat::Heartbeat(const std::string& folder, int rank) : host_(host_name()) {
  file_ = open(path_of(folder, rank).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

Heartbeat::~Heartbeat() {
  if (file_ >= 0) close(file_);
}

void Heartbeat::beat(const char* state, int64_t epoch, int64_t step, bool now) {
  epoch_ = epoch;
  step_ = step;
  const auto time = std::chrono::steady_clock::now();
  if (file_ < 0 || (!now && time - last_ < kInterval)) return;
  last_ = time;

  // A fixed length: a shorter record overwrites a longer one completely.
  std::string record = fmt::format("{:.3f} {} {} {} {}", unix_seconds(), epoch, step, host_, state);
  record.resize(kRecordBytes - 1, ' ');
  record += '\n';
  // A heartbeat that cannot be written (full disk) does not end the run: the result is ignored.
  if (pwrite(file_, record.data(), record.size(), 0) < 0) return;
}

std::string silent_ranks(const std::string& folder, int ranks) {
  const auto beats = read_beats(folder, ranks);
  if (beats.empty()) return "no heartbeat files in " + folder;

  // The caller has just called beat(), so the newest heartbeat stands for the present time.
  double newest = beats[0].time;
  for (const auto& beat : beats) newest = std::max(newest, beat.time);

  // Ranks that wait for a message write one per second, so an older heartbeat is that of a rank
  // that hangs or has ended.
  std::vector<std::string> silent;
  for (const auto& beat : beats)
    if (beat.time < newest - kSilentSeconds)
      silent.push_back(fmt::format("rank {} on {}: epoch {}, step {}, last heartbeat {:.0f} s ago",
                                   beat.rank, beat.host, beat.epoch, beat.step,
                                   unix_seconds() - beat.time));
  return silent.empty() ? "every rank has written a heartbeat within the last few seconds"
                        : fmt::format("{}", fmt::join(silent, "; "));
}

}  // namespace dissent
