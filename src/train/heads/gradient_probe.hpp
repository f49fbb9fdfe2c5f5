#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "ensemble/objective.hpp"
#include "train/heads/wave_stepper.hpp"

namespace dissent {

/// The communicators of a run, for tensors on the members' device.
struct ProbeGroups {
  Communicator& run;
  Communicator& data;
  GridShape shape;
  int64_t data_part;
};

/// True if the objective has both base and diversity losses, so that their gradients can be
/// compared.
bool has_both_kinds(const ObjectiveOptions& objective);

/// |g|^2, |h|^2 and <g, h> for each local pair (step, active member), where g is the gradient of
/// the base losses with respect to the member's weights and h that of the diversity losses, both
/// weighted and before clipping. Costs a forward pass and two backward passes. Updates nothing.
/// returns [local pairs, 3] f64 on the host, in the order of local_pairs(); the same on each data
/// rank. Collective over groups.run.
at::Tensor probe_gradients(const ProbeGroups& groups, const HeadMembers& members,
                           const ObjectiveOptions& objective, const std::vector<StepInput>& wave,
                           int64_t updating_epoch);

/// Steps of an epoch in which gradients are probed: `samples` steps per member, evenly spread, but
/// at most one in 64 of its steps. Ascending.
std::vector<int64_t> probed_steps(const std::vector<Step>& steps, int64_t members, int64_t samples);

/// Means for one member over its probed steps; NaN if it has none.
struct GradientValues {
  double base_norm, diversity_norm;
  double angle_degrees;  ///< between both gradients, 0 .. 180: above 90 a step that lowers one kind
                         ///< of loss raises the other; NaN if one gradient is always 0
};
/// probes [probed, A, 3]: results of probe_gradients by probed step and position among its active
/// members.
std::vector<GradientValues> gradient_values(const at::Tensor& probes,
                                            const std::vector<int64_t>& probed,
                                            const std::vector<Step>& steps, int64_t members);

}  // namespace dissent
