#pragma once
#include <cstdint>
#include <vector>

namespace dissent {

/// What one training step does. A pure function of (seed, epoch, index): a resumed or re-laid-out
/// run takes the same steps.
struct Step {
  int64_t epoch = 0;
  int64_t index = 0;          ///< within the epoch
  std::vector<int64_t> rows;  ///< positions in the pass of this epoch, 0 .. rows_per_pass - 1
  std::vector<int64_t> unlabelled_rows;  ///< positions in the unlabelled set; empty without one
  std::vector<int64_t> active;           ///< members that train in this step, ascending
  int64_t drawn = 0;                     ///< which of `active` the repulsion is measured from
};

struct PlanOptions {
  uint64_t seed = 0;
  int64_t rows_per_pass = 0;
  int64_t passes = 1;
  int64_t batch_size = 1;
  int64_t unlabelled_rows = 0;  ///< rows of the unlabelled set; its order wraps round
  int64_t members = 1;
  int64_t active = 1;        ///< members drawn a step; all members otherwise
  bool round_robin = false;  ///< one member an epoch, in turn
  int64_t chunk_rows = 0;    ///< rows are shuffled within chunks of so many rows of the pass, which
                             ///< are visited in file order; 0: the whole pass
};

/// How a pass is cut into chunks. All but the last have the same rows and steps.
struct PassChunks {
  explicit PassChunks(const PlanOptions& options);
  int64_t rows = 0;       ///< of each chunk
  int64_t last_rows = 0;  ///< of the last one
  int64_t count = 0;
  int64_t steps_each = 0;  ///< of each but the last
  int64_t last_steps = 0;
  int64_t steps() const { return (count - 1) * steps_each + last_steps; }
};

/// The steps of one epoch: rows in random order, a short last batch included (as torch's DataLoader
/// does), members drawn anew each step. Epoch e reads pass e % passes. With chunks, every row of a
/// chunk comes before any of the next one and no batch spans two: the last batch of each chunk may
/// be short. Chunks are part of the plan, not of where rows are kept, so that every residency takes
/// the same steps:
///   for (int64_t c = 0; c < plan.chunks(); ++c)
///     for (int64_t s = plan.chunk_begin(c); s < plan.chunk_begin(c + 1); ++s) run(plan.step(s));
class EpochPlan {
 public:
  EpochPlan(const PlanOptions& options, int64_t epoch);
  int64_t steps() const { return chunks_.steps(); }
  int64_t pass() const { return epoch_ % options_.passes; }
  int64_t chunks() const { return chunks_.count; }
  /// First step of a chunk; chunk_begin(chunks()) == steps().
  int64_t chunk_begin(int64_t chunk) const {
    return chunk == chunks_.count ? steps() : chunk * chunks_.steps_each;
  }
  int64_t chunk_of(int64_t step) const { return step / chunks_.steps_each; }
  Step step(int64_t index) const;

 private:
  PlanOptions options_;
  int64_t epoch_;
  PassChunks chunks_;
  std::vector<int64_t> order_;
  std::vector<int64_t> unlabelled_order_;
};

/// Steps of one epoch.
int64_t steps_per_epoch(const PlanOptions& options);

}  // namespace dissent
