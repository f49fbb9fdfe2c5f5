#pragma once
#include "comm/grid.hpp"
#include "train/run/training_engine.hpp"

namespace dissent {

/// Validates the ensemble of a run: accuracy of each member and of the ensemble's mean logits, NLL
/// of the mean logits (f64), each a mean over rows. Fills accuracy_ensemble, accuracy_best (of the
/// best member), accuracy_mean (over members) and nll of the record.
///
/// Blocks of rows are dealt to the data ranks in turn; the members of a block are gathered over
/// grid.members. The sums have the same bits on every grid: each block's row of the table is filled
/// by one rank and rows are added in order.
///
/// Returns false on every rank if one has requested a stop (core/stop.hpp): the record is not
/// filled then. Ranks agree on that once per round of blocks. Collective over grid.run.
bool validate(TrainingEngine& engine, Grid& grid, EpochRecord& record);

}  // namespace dissent
