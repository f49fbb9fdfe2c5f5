#pragma once
#include <cstdint>
#include <map>
#include <vector>

namespace dissent {

struct ImagePlanOptions {
  uint64_t seed = 0;
  int64_t rows = 0;  ///< of the training set
  int64_t batch_size = 1;
  int64_t members = 1;
  bool same_batch = false;      ///< one order for all members
  bool drop_last = false;       ///< leaves out a short last batch
  int64_t unlabelled_rows = 0;  ///< rows of the unlabelled set
  int64_t unlabelled_batch = 0;
  int64_t accumulation = 1;  ///< batches whose gradients make one update
  int64_t samples_per_class =
      0;  ///< class-balanced batches (losses/balanced_rows.hpp) instead of shuffled rows; 0: none
  std::vector<std::vector<int64_t>> rows_of_classes = {};  ///< for them
};

/// The batches of one epoch: a pure function of (seed, epoch, member, batch). Each member goes
/// through the whole set in an order of its own.
class ImageEpoch {
 public:
  ImageEpoch(const ImagePlanOptions& options, int64_t epoch);
  int64_t epoch() const { return epoch_; }
  int64_t batches() const;
  /// Updates; each takes `accumulation` batches, the last perhaps fewer.
  int64_t steps() const { return (batches() + options_.accumulation - 1) / options_.accumulation; }
  /// Rows of a member's batch; with same_batch those of member 0 for all.
  std::vector<int64_t> rows(int64_t member, int64_t batch) const;
  /// What the transforms of these rows are keyed by, beside the row: no two members or epochs share
  /// it.
  uint64_t stream(int64_t member) const;
  /// Rows of the unlabelled set, whose order wraps round; empty without one.
  std::vector<int64_t> unlabelled_rows(int64_t batch) const;
  uint64_t unlabelled_stream() const;
  /// The member whose batch the others see too.
  int64_t drawn(int64_t batch) const;
  /// Counts batches over all epochs: keys other draws of a step.
  uint64_t counter(int64_t batch) const {
    return static_cast<uint64_t>(epoch_ * batches() + batch);
  }

 private:
  int64_t loader(int64_t member) const { return options_.same_batch ? 0 : member; }
  const std::vector<int32_t>& order(int64_t member) const;
  const ImagePlanOptions& options_;
  int64_t epoch_;
  mutable std::map<int64_t, std::vector<int32_t>> orders_;  // made when first asked for
  mutable std::vector<int32_t> unlabelled_order_;
};

/// Batches of an epoch: all rows, a short last batch included unless it is dropped; class-balanced
/// ones as many as fit into the set.
int64_t batches_per_epoch(const ImagePlanOptions& options);

}  // namespace dissent
