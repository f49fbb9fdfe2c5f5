#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/grid.hpp"
#include "models/parameters.hpp"
#include "train/images/loss_scale.hpp"
#include "train/run/epoch_record.hpp"
#include "train/run/run_state.hpp"
#include "train/update/optimizer.hpp"
#include "train/update/schedule.hpp"

namespace dissent {

/// A stack of flat vectors, one per network of this rank, and the tensors inside each of them.
struct CheckpointStack {
  std::string prefix;             ///< "members/", "buffers/", ...
  at::Tensor values;              ///< [n, size of the layout]
  const ParameterLayout* layout;  ///< names and shapes: dataset <prefix><name>, [networks, ...]
};

/// Everything that a checkpoint stores of a run, by reference: writing reads it, reading fills it.
/// Engines describe themselves so (TrainingEngine::contents); references are valid for one call.
///
/// Datasets: <stack prefix><parameter> [networks, ...], optimizer/<state>/<parameter>,
/// optimizer/steps [networks], <name> of each shared tensor, progress/epochs, progress/steps,
/// progress/gradients.
struct RunContents {
  std::string data_kind;  ///< "caches" or "images", for messages
  std::string data;       ///< identity of the data: a checkpoint of other data is refused
  int64_t dim = 0;        ///< features per row that the classifier reads
  int64_t classes = 0;
  int64_t networks = 0;         ///< of the ensemble; 1 for a multihead network
  int64_t first_network = 0;    ///< the first one of this rank
  int64_t local_networks = 0;   ///< on this rank
  bool writes_networks = true;  ///< false on ranks whose networks another rank holds and writes too
  std::vector<CheckpointStack> stacks;  ///< but for the optimiser's state, which follows the first
  std::vector<std::pair<std::string, at::Tensor>> shared;  ///< the same on every rank
  LossScale* loss_scale = nullptr;                         ///< nullptr: the engine has none
};

/// Writes the state of a run, complete enough that training resumes from it bit for bit on any
/// split of the members. Collective over grid.run.
void write_run_checkpoint(const std::string& path, Grid& grid, const RunContext& context,
                          const RunContents& contents, const Optimizer& optimizer,
                          const Schedule& schedule, const RunState& state);

/// Reads a checkpoint back into the tensors of `contents`, the optimiser and the schedule; of the
/// networks only those of this rank. Error::kData naming what does not fit: parameters of another
/// program version, other data. Not collective.
RunState read_run_checkpoint(const std::string& path, const RunContents& contents,
                             Optimizer& optimizer, Schedule& schedule);

}  // namespace dissent
