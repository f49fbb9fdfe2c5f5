#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "losses/registry.hpp"
#include "losses/weighted_sum.hpp"

namespace dissent {

/// The weighted sum of losses of one training step on features: any set of those that need no more
/// than logits and labels. Mapping from SED's options, with lambda and manual_lambda:
///   cross_entropy weight = 1 - lambda,   a2d or divdis weight = manual_lambda * lambda,
///       kl_backward weight = reg_weight * lambda,
///   from_epoch (of a2d, divdis and kl_backward) = disagree_after_epoch,
///       repulsion_on labelled = use_always_labeled,   a2d sample_weight hard = modifier "budget".
/// lambda = 0 is none of them but cross-entropy; manual_lambda = 0 keeps the repulsion, computed
/// and reported with weight 0.
struct ObjectiveOptions {
  enum class RepulsionOn { kLabelled, kUnlabelled };

  std::vector<losses::LossTerm> terms = {};    ///< those of kind base first; each name once
  std::optional<double> below_threshold = {};  ///< 0 .. 1: samples with p_y <= threshold for some
                                               ///< member repel, only the others are trained
  RepulsionOn repulsion_on = RepulsionOn::kLabelled;  ///< the batch of diversity losses; oe is
                                                      ///< always on the unlabelled one
};

/// Throws Error::kUsage for a contradiction: an unknown loss or one that needs more than logits; a
/// term twice; the hard weight with a threshold or with unlabelled data; a threshold with
/// unlabelled data or with nothing to repel; a weight or share out of range. Call it before the
/// first step.
void check(const ObjectiveOptions& options);

/// Why a loss cannot be trained on cached features, or nothing if it can.
std::optional<std::string> impossible_on_features(const losses::LossInfo& loss);
/// True if the term reads the unlabelled batch.
bool reads_unlabelled(const losses::LossTerm& term, const ObjectiveOptions& options);
/// Bit i: term i is on in this step (its weight may still be 0). At most 64 terms.
uint64_t terms_on(const ObjectiveOptions& options, int64_t epoch, int64_t step);
/// True if a term reads the drawn member.
bool uses_drawn_member(const ObjectiveOptions& options);

/// One step's values. A NaN in any term reaches `total` and stays there: the caller decides
/// (training.on_nan).
struct ObjectiveValue {
  at::Tensor total;      ///< scalar, differentiable: minimise this
  at::Tensor base;       ///< scalar, differentiable: the part of it from losses of kind base
  at::Tensor diversity;  ///< scalar, differentiable: the rest
  std::vector<at::Tensor> terms;  ///< scalars, detached: value of each term, without its weight; 0
                                  ///< where it is off or has no sample
};

///   total = sum over terms of weight_at(term, epoch, step) * loss
/// logits      [A, B, C]  f32 or f64, any device: the ACTIVE members in index order; A >= 2 where a
///             loss couples members (else Error::kUsage)
/// labels      [B]        i64, same device
/// unlabelled  [A, B', C] of the same dtype and device. None given: terms that read it are 0, as in
///             the reference
/// m           the drawn member of A2D, an index into the A active ones
/// epoch, step of training, from 0; the frozen epoch is none
/// With a threshold: base losses where every member has p_y > threshold, the others on the rest;
/// while no other loss is on, nothing is split. A part without samples contributes 0, kl_backward
/// needs both. The threshold reads counts from the device (one synchronisation).
/// Throws Error::kUsage as check(), and for shapes, dtypes, devices, labels.
/// Ref: SED diverse_universe/train/losses.py DivDisLossWrapper.forward; cases sed_losses.h5
/// sed_total.
ObjectiveValue objective(const at::Tensor& logits, const at::Tensor& labels,
                         const std::optional<at::Tensor>& unlabelled, int64_t m, int64_t epoch,
                         int64_t step, const ObjectiveOptions& options);

}  // namespace dissent
