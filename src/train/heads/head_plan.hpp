#pragma once
#include <cstdint>
#include <vector>

namespace dissent {

/// One training step. A pure function of (seed, epoch, index): a run that is resumed, or resumed
/// with another number of ranks, takes the same steps.
struct Step {
  int64_t epoch = 0;
  int64_t index = 0;          ///< within the epoch
  std::vector<int64_t> rows;  ///< positions in the pass of this epoch, 0 .. rows_per_pass - 1
  std::vector<int64_t> unlabelled_rows;  ///< positions in the unlabelled set; empty without one
  std::vector<int64_t> active;           ///< members that train in this step, ascending
  int64_t drawn_position =
      0;  ///< index into `active` of the member that A2D repels the others from
};

struct PlanOptions {
  uint64_t seed = 0;
  int64_t rows_per_pass = 0;
  int64_t passes = 1;
  int64_t batch_size = 1;
  int64_t unlabelled_rows = 0;  ///< rows of the unlabelled set; its order repeats within an epoch
  int64_t members = 1;
  int64_t active = 1;        ///< members drawn per step
  bool round_robin = false;  ///< trains one member per epoch, in turn
  int64_t chunk_rows = 0;    ///< rows are shuffled within chunks of this many rows of the pass; the
                             ///< chunks are visited in file order; 0: one chunk, the whole pass
};

/// The chunks of a pass. All but the last have the same number of rows and steps.
struct PassChunks {
  explicit PassChunks(const PlanOptions& options);
  int64_t rows = 0;       ///< of each chunk
  int64_t last_rows = 0;  ///< of the last one
  int64_t count = 0;
  int64_t steps_each = 0;  ///< of each but the last
  int64_t last_steps = 0;
  int64_t steps() const { return (count - 1) * steps_each + last_steps; }
};

/// The steps of one epoch: rows in random order, a short last batch included (as in torch's
/// DataLoader), active members drawn independently for each step. Epoch e reads pass e % passes.
/// With chunks, all rows of a chunk come before those of the next one and no batch spans two: the
/// last batch of each chunk may be short. Chunks are a property of the plan and not of the
/// residency of the rows, so that every residency takes the same steps:
///   for (int64_t c = 0; c < plan.chunks(); ++c)
///     for (int64_t s = plan.chunk_begin(c); s < plan.chunk_begin(c + 1); ++s) run(plan.step(s));
class EpochPlan {
 public:
  /// Draws the order of the rows of this epoch (from 0): 8 bytes per row.
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
