#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "ensemble/members.hpp"
#include "ensemble/split_loss.hpp"
#include "train/images/discriminator.hpp"
#include "train/images/network_passes.hpp"

namespace dissent {

/// The ensemble losses of a batch.
struct EnsembleLossValues {
  std::vector<double> values;  ///< per term of the objective, without its weight; 0 where it is off
                               ///< or a base loss
  ExchangedOutputs gradients;  ///< of  share * loss scale * sum of weight_t L_t
};

/// Evaluates the losses between members on what the members of this rank have computed, and their
/// derivatives with respect to it. Small tensors, computed by one thread, with the same bits on
/// every split of the members (ensemble/split_loss.hpp). A discriminator, if any, accumulates its
/// own gradient on the gathered features. Collective over ranks.run.
EnsembleLossValues ensemble_losses(const ImageMembers& members, const ImageObjective& objective,
                                   const BatchContext& batch,
                                   const std::vector<NetworkState>& states,
                                   const EnsembleSplit& ranks, double loss_scale,
                                   Discriminator* discriminator);

/// Labels [b] of the batch that the ensemble losses read: its own or, for an unlabelled batch, the
/// classes that the mean logits of all members predict. Collective over ranks.members then.
at::Tensor common_labels(const ImageRows& rows, const std::vector<NetworkState>& states,
                         const EnsembleSplit& ranks);

}  // namespace dissent
