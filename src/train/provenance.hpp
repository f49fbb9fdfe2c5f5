#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "train/head_trainer.hpp"

namespace dissent {

/// provenance.json of a run: versions, commit, hosts, ranks, grid, start, wall time, caches. Collective over the run when made.
class Provenance {
 public:
  Provenance(Communicator& run, const GridShape& shape, const RunContext& context, std::string caches);
  /// Writes <folder>/provenance.json; rank 0 of the run only. state: "running", "finished".
  void write(const std::string& state) const;

 private:
  std::string folder_, config_hash_;
  uint64_t seed_;
  GridShape shape_;
  std::string caches_;
  std::vector<std::string> hosts_;
  std::chrono::system_clock::time_point start_;
};

}  // namespace dissent
