#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace dissent {

/// A rank's heartbeat file <run>/heartbeat.<rank>: time, epoch, step, host and state, rewritten at
/// most once per second, without MPI. A rank that waits for a message still writes it (state
/// "waiting"); a rank that hangs does not, and can be identified by that.
class Heartbeat {
 public:
  /// Opens the file. If that fails, beat() does nothing: a run does not end because of its
  /// heartbeats.
  Heartbeat(const std::string& folder, int rank);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;
  /// Sets epoch and step; writes the file if the last write is about a second old, or with `now`.
  void beat(const char* state, int64_t epoch, int64_t step, bool now = false);
  /// The same epoch and step as before, with another state.
  void beat(const char* state, bool now = false) { beat(state, epoch_, step_, now); }

 private:
  int file_ = -1;
  std::string host_;
  int64_t epoch_ = 0, step_ = 0;
  std::chrono::steady_clock::time_point last_{};
};

/// Names the ranks of a run whose last heartbeat is over 2.5 s older than the newest one: "rank 2
/// on n14: epoch 3, step 120, last heartbeat 61 s ago". The caller has just called beat(), so the
/// newest one is recent.
std::string silent_ranks(const std::string& folder, int ranks);

}  // namespace dissent
