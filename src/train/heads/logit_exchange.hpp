#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "train/heads/wave_stepper.hpp"

namespace dissent {

/// The part of a batch on one data rank: its rows of the labelled batch, followed by its rows of
/// the unlabelled batch.
struct BatchPart {
  Part labelled, unlabelled;
  int64_t rows() const { return labelled.count + unlabelled.count; }
};
BatchPart batch_part(const Step& step, int64_t parts, int64_t index);
/// These rows of a tensor over the whole batch, whose dimension `dim` has the `labelled` rows
/// first, then the unlabelled ones. Contiguous.
at::Tensor part_rows(const at::Tensor& whole, const BatchPart& part, int64_t labelled,
                     int64_t dim = 0);

/// A member that this rank holds, in one step of a wave.
struct LocalPair {
  int64_t step;      ///< position in the wave
  int64_t position;  ///< position among the step's active members
  int64_t member;    ///< number in the ensemble
};
/// All local pairs, ordered by step, then by active member.
std::vector<LocalPair> local_pairs(const std::vector<StepInput>& wave, const HeadMembers& members);

/// True if one of these members is active in the step: their rank then takes part in it.
bool holds_any(const HeadMembers& members, const Step& step);

/// Logits of a wave, gathered from all ranks of the run.
struct WaveLogits {
  std::vector<at::Tensor> of_step;  ///< [A, B + U, C]; undefined for steps that this rank does not
                                    ///< take part in
  Request agreed = Request::kNone;  ///< the most urgent request of all ranks
};
/// One gather, in which each rank sends its request along with its logits.
/// run     ranks of the run, for tensors on the pieces' device
/// pieces  [b + u, C] of each local pair, in order
/// Collective over run.
WaveLogits gather_logits(Communicator& run, const GridShape& shape, const HeadMembers& members,
                         const std::vector<StepInput>& wave, const std::vector<at::Tensor>& pieces,
                         Request request);

/// values  [local pairs] f64 on the communicator's device, the same on each data rank of a member
///         group
/// returns for each step of the wave the sum over its active members, added in member order.
/// Collective over run.
std::vector<double> sum_over_members(Communicator& run, const GridShape& shape, int64_t data_part,
                                     const HeadMembers& members, const std::vector<StepInput>& wave,
                                     const at::Tensor& values);

}  // namespace dissent
