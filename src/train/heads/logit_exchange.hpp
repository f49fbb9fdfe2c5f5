#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "train/heads/wave_stepper.hpp"

namespace dissent {

/// A part of the batch on one data rank: its rows of the labelled batch, then its rows of the
/// unlabelled one.
struct BatchPart {
  Part labelled, unlabelled;
  int64_t rows() const { return labelled.count + unlabelled.count; }
};
BatchPart batch_part(const Step& step, int64_t parts, int64_t index);

/// A member that this rank holds, in one step of a wave.
struct LocalPair {
  int64_t step;      ///< position in the wave
  int64_t position;  ///< position among the step's active members
  int64_t member;    ///< number in the ensemble
};
/// All of them, in the order of steps, then of active members.
std::vector<LocalPair> local_pairs(const std::vector<StepInput>& wave, const MemberStack& members);

/// True if the rank that holds these members takes part in the step.
bool holds_any(const MemberStack& members, const Step& step);

/// Logits of the wave's steps that this rank takes part in, [A, B + U, C] each (undefined for the
/// others), from the pieces of all ranks of the run: one gather, whose last number a rank is its
/// request.
struct WaveLogits {
  std::vector<at::Tensor> of_step;
  Request agreed = Request::kNone;
};
/// run     ranks of the run, over tensors of the pieces' device
/// pieces  [b + u, C] of each local pair, in order
/// Collective over run.
WaveLogits gather_logits(Communicator& run, const GridShape& shape, const MemberStack& members,
                         const std::vector<StepInput>& wave, const std::vector<at::Tensor>& pieces,
                         Request request);

/// One number a local pair (f64, on the communicator's side) -> one a step: their sums over the
/// step's active members, added in member order, for all steps of the wave. Each data rank of a
/// member group holds the same numbers. Collective over run.
std::vector<double> sum_over_members(Communicator& run, const GridShape& shape, int64_t data_part,
                                     const MemberStack& members, const std::vector<StepInput>& wave,
                                     const at::Tensor& values);

}  // namespace dissent
