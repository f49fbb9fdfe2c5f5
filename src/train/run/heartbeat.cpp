#include "train/run/heartbeat.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "comm/runtime.hpp"

namespace dissent {
namespace {

constexpr int kRecordBytes =
    256;  // one write of one block: a reader sees the old record or the new one

// Ranks that wait are called once a second; a little less here, so that no call is dropped because
// it came a moment early.
constexpr auto kInterval = std::chrono::milliseconds(900);
// Two signs of a rank that waits, and a busy machine's delay.
constexpr double kSilentSeconds = 2.5;

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string path_of(const std::string& folder, int rank) {
  return fmt::format("{}/heartbeat.{}", folder, rank);
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
  std::string record = fmt::format("{:.3f} {} {} {} {}", unix_seconds(), epoch, step, host_, state);
  record.resize(kRecordBytes - 1, ' ');
  record += '\n';
  // A sign of life that cannot be written (full disk) is no reason to end a run.
  if (pwrite(file_, record.data(), record.size(), 0) < 0) return;
}

std::string silent_ranks(const std::string& folder, int ranks) {
  struct Sign {
    int rank;
    double time;
    int64_t epoch, step;
    std::string host;
  };
  std::vector<Sign> signs;
  for (int rank = 0; rank < ranks; ++rank) {
    std::ifstream file(path_of(folder, rank));
    Sign sign{rank, 0, 0, 0, "?"};
    if (file >> sign.time >> sign.epoch >> sign.step >> sign.host) signs.push_back(sign);
  }
  if (signs.empty()) return "no heartbeat files in " + folder;
  const auto newest =
      std::max_element(signs.begin(), signs.end(), [](const Sign& a, const Sign& b) {
        return a.time < b.time;
      })->time;
  std::string text;
  for (const auto& sign : signs)
    if (sign.time < newest - kSilentSeconds)
      text += fmt::format("{}rank {} on {}: epoch {}, step {}, last sign of life {:.0f} s ago",
                          text.empty() ? "" : "; ", sign.rank, sign.host, sign.epoch, sign.step,
                          unix_seconds() - sign.time);
  return text.empty() ? "every rank gave a sign of life within the last seconds" : text;
}

}  // namespace dissent
