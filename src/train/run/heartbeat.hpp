#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace dissent {

/// A rank's sign of life: <run>/heartbeat.<rank> holds host, state, epoch, step and time, rewritten
/// at most once a second, without MPI. A rank that waits for a message goes on beating (state
/// "waiting"); one that is stuck does not, and so is found.
class Heartbeat {
 public:
  Heartbeat(const std::string& folder, int rank);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;
  /// Notes where the rank is; writes if the last writing is over a second ago, or `now`.
  void beat(const char* state, int64_t epoch, int64_t step, bool now = false);
  /// The last place again, with another state.
  void beat(const char* state, bool now = false) { beat(state, epoch_, step_, now); }

 private:
  int file_ = -1;
  std::string host_;
  int64_t epoch_ = 0, step_ = 0;
  std::chrono::steady_clock::time_point last_{};
};

/// What the heartbeat files of a run say of the ranks whose sign is over 2.5 s older than the
/// newest: "rank 2 on n14: epoch 3, step 120, last sign of life 61 s ago". The caller has just
/// beaten, so that the newest sign is now.
std::string silent_ranks(const std::string& folder, int ranks);

}  // namespace dissent
