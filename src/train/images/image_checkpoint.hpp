#pragma once
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/image_members.hpp"
#include "train/images/discriminator.hpp"
#include "train/run/epoch_record.hpp"
#include "train/images/loss_scale.hpp"
#include "train/update/optimizer.hpp"
#include "train/update/schedule.hpp"

namespace dissent {

/// Where a run on images stands between two updates.
struct ImageRunState {
  int64_t epoch = 0;                 ///< epochs done
  int64_t step = 0;                  ///< updates done of the epoch under way
  std::vector<EpochRecord> records;  ///< of the epochs done
  at::Tensor steps;  ///< [step, columns] f64: figures of the updates done of the epoch under way
  double best_accuracy = -1;  ///< of the ensemble on the validation set, so far
  int64_t losses = 0;         ///< terms of the objective
};

/// All that a run on images has to keep. References hold only for the call.
struct ImageRun {
  Grid& grid;
  const std::string& identity;  ///< of the sets
  int64_t classes;
  ImageMembers& members;
  at::Tensor average;            ///< [n, P] or undefined
  Discriminator* discriminator;  ///< or nullptr
  Optimizer& optimizer;
  Schedule& schedule;
  LossScale& loss_scale;
};

/// Writes the state of a run, complete enough that training goes on from it bit for bit on any
/// split of the members. Of BatchNorm's statistics those of the first data rank. Names:
/// members/<parameter> [M, ...] ([1, ...] for a multihead network), buffers/<name>,
/// average/<parameter>, optimizer/<state>/<parameter>, optimizer/steps,
/// discriminator/<state>/<number>, progress/... Collective over the run.
void write_image_checkpoint(const std::string& path, const ImageRun& run, const RunContext& context,
                            const ImageRunState& state);

/// Reads it back, the parts of this rank alone. Error::kData naming what does not fit. Not
/// collective.
ImageRunState read_image_checkpoint(const std::string& path, const ImageRun& run);

}  // namespace dissent
