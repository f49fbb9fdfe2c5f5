#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "ensemble/objective.hpp"
#include "train/heads/wave_stepper.hpp"

namespace dissent {

/// Where the ranks of a run exchange the tensors of the members' device.
struct ProbeGroups {
  Communicator& run;
  Communicator& data;
  GridShape shape;
  int64_t data_part;
};

/// Whether the objective has base losses and others: only then is there something to compare.
bool has_both_kinds(const ObjectiveOptions& objective);

/// For each local pair (step, active member): |g|^2, |h|^2 and <g, h>, g the gradient of the base
/// losses with respect to the member's weights, h that of all others, weights of the losses
/// included and before clipping. Costs a forward pass and two backward passes. Nothing is updated.
/// returns [local pairs, 3] f64 on the host, in the order of local_pairs(); the same on each data
/// rank. Collective over groups.run.
at::Tensor probe_gradients(const ProbeGroups& groups, const MemberStack& members,
                           const ObjectiveOptions& objective, const std::vector<StepInput>& wave,
                           int64_t epoch_of_loss);

/// Steps of an epoch in which gradients are looked at: of each member `samples` of its steps, but
/// no more than one in 64, evenly spread. Ascending.
std::vector<int64_t> probed_steps(const std::vector<Step>& steps, int64_t members, int64_t samples);

/// Means of a member over its probed steps; NaN without one.
struct GradientFigures {
  double base_norm, diversity_norm;
  double angle_degrees;  ///< between the two, 0 .. 180: above 90 the diversity losses undo what the
                         ///< base losses learn; NaN while either is 0
};
/// probes [probed, A, 3]: rows of probe_gradients by probed step and position among the active
/// members.
std::vector<GradientFigures> gradient_figures(const at::Tensor& probes,
                                              const std::vector<int64_t>& probed,
                                              const std::vector<Step>& steps, int64_t members);

}  // namespace dissent
