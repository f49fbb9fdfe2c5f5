#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "train/head_trainer.hpp"

namespace dissent {

/// provenance.json of a run: versions, commit, hosts, ranks, grid, start, wall time, caches.
/// Collective over the run when made.
class Provenance {
 public:
  Provenance(Communicator& run, const GridShape& shape, const RunContext& context,
             std::string caches);
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
  std::chrono::system_clock::time_point start_;
};

}  // namespace dissent
