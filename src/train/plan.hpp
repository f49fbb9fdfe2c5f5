#pragma once
#include <cstdint>
#include <vector>

namespace dissent {

/// What one training step does. A pure function of (seed, epoch, index): a resumed or re-laid-out run takes the same steps.
struct Step {
  int64_t epoch = 0;
  int64_t index = 0;                     ///< within the epoch
  std::vector<int64_t> rows;             ///< positions in the pass of this epoch, 0 .. rows_per_pass - 1
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
  int64_t active = 1;           ///< members drawn a step; all members otherwise
  bool round_robin = false;     ///< one member an epoch, in turn
};

/// The steps of one epoch: rows in random order, a short last batch included (as torch's DataLoader does), members drawn anew each step.
/// Epoch e reads pass e % passes.
class EpochPlan {
 public:
  EpochPlan(const PlanOptions& options, int64_t epoch);
  int64_t steps() const { return steps_; }
  int64_t pass() const { return epoch_ % options_.passes; }
  Step step(int64_t index) const;

 private:
  PlanOptions options_;
  int64_t epoch_;
  int64_t steps_;
  std::vector<int64_t> order_;
  std::vector<int64_t> unlabelled_order_;
};

/// Steps of one epoch.
int64_t steps_per_epoch(const PlanOptions& options);

/// Groups steps into waves of steps that share no member. Such steps commute exactly: a member's weights, optimiser state and step count are touched
/// by its own steps only, and a loss couples only the members of its step. Within the look-ahead window a step is taken into the wave if no earlier
/// pending step holds one of its members, so each member sees its steps in order.
/// returns, wave by wave, positions in `steps`
std::vector<std::vector<int64_t>> make_waves(const std::vector<Step>& steps, int64_t look_ahead = 64);

}  // namespace dissent
