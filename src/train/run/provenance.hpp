#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "train/run/epoch_record.hpp"

namespace dissent {

/// provenance.json of a run: versions, commit, hosts, ranks, grid, caches; its first start, how
/// many there were, the last one's, and the wall time of all of them.
/// Collective over the run when made.
class Provenance {
 public:
  /// resumed: the run goes on from its checkpoint, so that the time of its starts before counts
  /// too: of one that was killed until its last sign of life.
  Provenance(Communicator& run, const GridShape& shape, const RunContext& context,
             std::string caches, bool resumed);
  /// Writes <folder>/provenance.json; rank 0 of the run only. state: "running", "finished",
  /// "stopped". Error::kData.
  void write(const std::string& state) const;
  /// State "failed" with the message of an error, and the rank that it is of. May be called by
  /// several ranks at once, when each has an error of its own: the last one stays. Never throws: it
  /// is called on the way out.
  void write_failure(const std::string& message) const noexcept;

 private:
  std::string text(const std::string& state, const std::string& error) const;
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
