#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "core/divide_up.hpp"

namespace dissent {

struct ImagePlanOptions {
  uint64_t seed = 0;
  int64_t rows = 0;  ///< images of the training set
  int64_t batch_size = 1;
  int64_t members = 1;
  bool same_batch = false;      ///< all members train on the same batches
  bool drop_last = false;       ///< leaves out a short last batch
  int64_t unlabelled_rows = 0;  ///< rows of the unlabelled set
  int64_t unlabelled_batch = 0;
  int64_t accumulation = 1;       ///< batches per update, whose gradients are added
  int64_t samples_per_class = 0;  ///< class-balanced batches (losses/balanced_rows.hpp) with this
                                  ///< many rows per class; 0: shuffled rows
  std::vector<std::vector<int64_t>> rows_of_classes = {};  ///< for class-balanced batches
};

/// The batches of one epoch: a pure function of (seed, epoch, member, batch). Each member trains on
/// the whole set, in its own order.
class ImageEpoch {
 public:
  ImageEpoch(const ImagePlanOptions& options, int64_t epoch);
  int64_t epoch() const { return epoch_; }
  int64_t batches() const;
  /// Number of updates, each of `accumulation` batches; the last may have fewer.
  int64_t steps() const { return divide_up(batches(), options_.accumulation); }
  /// Rows of a member's batch; with same_batch those of member 0.
  std::vector<int64_t> rows(int64_t member, int64_t batch) const;
  /// Key of the random transforms of these rows, together with the row: different for every epoch
  /// and, without same_batch, for every member.
  uint64_t stream(int64_t member) const;
  /// Rows of the unlabelled set, whose order repeats within an epoch; empty without such a set.
  std::vector<int64_t> unlabelled_rows(int64_t batch) const;
  uint64_t unlabelled_stream() const;
  /// The member whose batch the other members see too.
  int64_t drawn_member(int64_t batch) const;
  /// Number of the batch over all epochs: the key of other random draws in a step.
  uint64_t counter(int64_t batch) const {
    return static_cast<uint64_t>(epoch_ * batches() + batch);
  }

 private:
  int64_t loader(int64_t member) const { return options_.same_batch ? 0 : member; }
  const std::vector<int32_t>& order(int64_t member) const;
  const ImagePlanOptions& options_;
  int64_t epoch_;
  mutable std::map<int64_t, std::vector<int32_t>> orders_;  // computed when first used
  mutable std::vector<int32_t> unlabelled_order_;
};

/// Number of batches of an epoch, a short last batch included unless it is dropped. Class-balanced
/// batches: as many as fit into the set.
int64_t batches_per_epoch(const ImagePlanOptions& options);

}  // namespace dissent
