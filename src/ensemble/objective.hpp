#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "losses/registry.hpp"
#include "losses/weighted_sum.hpp"

namespace dissent {

/// The weighted sum of losses of one training step on features: any set of losses that need only
/// logits and labels. Mapping from SED's options, with lambda and manual_lambda:
///   cross_entropy weight = 1 - lambda,   a2d or divdis weight = manual_lambda * lambda,
///       kl_backward weight = reg_weight * lambda,
///   from_epoch (of a2d, divdis and kl_backward) = disagree_after_epoch,
///       repulsion_on labelled = use_always_labeled,   a2d sample_weight hard = modifier "budget".
/// lambda = 0 is cross-entropy alone; manual_lambda = 0 still computes and reports the repulsion,
/// with weight 0.
struct ObjectiveOptions {
  enum class RepulsionOn { kLabelled, kUnlabelled };

  std::vector<losses::LossTerm> terms = {};    ///< base losses first; each name once
  std::optional<double> below_threshold = {};  ///< 0 .. 1: samples with p_y <= threshold for some
                                               ///< member repel, only the others are trained
  RepulsionOn repulsion_on = RepulsionOn::kLabelled;  ///< the batch of diversity losses; oe
                                                      ///< always reads the unlabelled one
};

/// Throws Error::kUsage for options that contradict each other: an unknown loss or one that needs
/// more than logits; a term twice; the hard weight with a threshold or with unlabelled data; a
/// threshold with unlabelled data or without a loss that repels; a weight or threshold out of
/// range. Call it before the first step.
void check(const ObjectiveOptions& options);

/// The reason why a loss cannot be trained on cached features, or nothing if it can.
std::optional<std::string> impossible_on_features(const losses::LossInfo& loss);
/// True if the term reads the unlabelled batch.
bool reads_unlabelled(const losses::LossTerm& term, const ObjectiveOptions& options);
/// Bit i: term i is on in this step (its weight may still be 0). At most 64 terms.
uint64_t terms_on(const ObjectiveOptions& options, int64_t epoch, int64_t step);
/// True if a term reads the drawn member.
bool uses_drawn_member(const ObjectiveOptions& options);

/// The values of one step. A NaN in any term makes `total` NaN; the caller handles it
/// (training.on_nan).
struct ObjectiveValue {
  at::Tensor total;               ///< scalar, differentiable: minimise this
  at::Tensor base;                ///< scalar, differentiable: its part from losses of kind base
  at::Tensor diversity;           ///< scalar, differentiable: its part from all other losses
  std::vector<at::Tensor> terms;  ///< scalars, detached: value of each term, without its weight; 0
                                  ///< if it is off or has no samples
};

///   total = sum over terms of weight_at(term, epoch, step) * loss
/// logits      [A, B, C]  f32 or f64, any device: the ACTIVE members in index order; A >= 2 where a
///             loss couples members (else Error::kUsage)
/// labels      [B]        i64, same device
/// unlabelled  [A, B', C] of the same dtype and device. If absent, terms that read it are 0, as in
///             the reference
/// drawn_position  of the member that A2D repels the others from, an index into the A active ones
/// epoch, step of training, from 0; a frozen epoch is not counted
/// With a threshold, base losses read the samples on which every member has p_y > threshold, all
/// other losses the rest; while only base losses are on, the batch is not split. A part without
/// samples contributes 0; kl_backward needs both. The threshold reads counts from the device (one
/// synchronisation).
/// Throws Error::kUsage like check(), and for wrong shapes, dtypes, devices and labels.
/// Ref: SED diverse_universe/train/losses.py DivDisLossWrapper.forward; cases sed_losses.h5
/// sed_total.
ObjectiveValue objective(const at::Tensor& logits, const at::Tensor& labels,
                         const std::optional<at::Tensor>& unlabelled, int64_t drawn_position,
                         int64_t epoch, int64_t step, const ObjectiveOptions& options);

}  // namespace dissent
