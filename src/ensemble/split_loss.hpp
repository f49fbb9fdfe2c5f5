#pragma once
#include <ATen/core/Tensor.h>

#include <any>
#include <cstdint>
#include <string>

#include "ensemble/exchange.hpp"
#include "losses/registry.hpp"

namespace dissent {

/// losses::evaluate(name, whole ensemble and batch, options) from this rank's part of them: the
/// value on every rank, and a graph to this rank's members and rows only. Its derivative with
/// respect to a member's weights is that of one rank, exactly, once it is added up over the data
/// ranks; no backward pass sends anything.
///   local.*_logits, features, logit_noise  [m, b, ..]  this rank's members and rows (part_of);
///       feature_maps and images of the same
///   local.labels         [b], or [m, b] where each member has a batch of its own
///   local.drawn_member
///       an index into the M members;  local.discriminator: whole, the same on every rank
/// Ranks exchange over members what the loss declares (LossTraits::exchanged); saliency maps and
/// input gradients are computed here, for the members of this rank only. A loss that does not
/// exchange all outputs that it reads is the mean of M values, one per member, and these are
/// exchanged. Over data ranks every field that the loss reads is gathered, even if the loss is a
/// mean over samples, so that the loss has the same bits on every rank. On the CPU with one thread,
/// value and derivative have the same bits for every split of the members; a split of the batch
/// changes the order of the sum over rows. Throws Error::kUsage on every rank of the run, before
/// any other communication: for the errors of evaluate(), for parts that do not fit together
/// (gather_fields), for fewer members than member ranks, and for fewer rows than data ranks if the
/// loss compares maps or input gradients. Collective over the run.
at::Tensor split_loss(const std::string& name, const losses::LossInput& local,
                      const std::any& options, const EnsembleSplit& split);

/// split_loss for a loss that compares maps (LossInfo::compare_maps: gradcam, input_gradient), from
/// maps that are already computed: local [m, b, ..] of this rank's members and rows.
at::Tensor split_map_loss(const std::string& name, const at::Tensor& local, const std::any& options,
                          const EnsembleSplit& split);

}  // namespace dissent
