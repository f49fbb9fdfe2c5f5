#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "storage/run_folder.hpp"
#include "train/run/epoch_record.hpp"

namespace dissent {

/// provenance.json of a run: versions, commit, hosts, ranks, grid, caches; times of its first and
/// last start, number of starts, and total wall time.
/// The constructor is collective over the run.
class Provenance {
 public:
  /// resumed: the run resumes from its checkpoint, and the wall time of earlier starts is added. A
  /// start that was killed counts until its last heartbeat.
  Provenance(Communicator& run, const GridShape& shape, const RunContext& context,
             std::string caches, bool resumed);
  /// Writes <folder>/provenance.json; rank 0 of the run only. kFailed is written by
  /// write_failure. Error::kData.
  void write(RunStatus status) const;
  /// Writes kFailed with an error's message and this rank. Several ranks with different errors may
  /// call it at once: the last one is kept. Never throws, because it is called while an error is
  /// handled.
  void write_failure(const std::string& message) const noexcept;

 private:
  void read_earlier_starts();
  std::string text(RunStatus status, const std::string& error) const;
  int rank_;
  std::string folder_, config_hash_;
  uint64_t seed_;
  GridShape shape_;
  std::string caches_, device_;
  std::vector<std::string> hosts_;
  std::chrono::system_clock::time_point start_, first_start_;
  double wall_before_s_ = 0;
  int64_t starts_ = 1;
};

}  // namespace dissent
