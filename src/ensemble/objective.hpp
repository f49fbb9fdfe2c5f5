#pragma once
#include <ATen/core/Tensor.h>

#include <dissent/losses/divdis.hpp>

#include <optional>

namespace dissent {

/// The weighted sum of losses of one training step on features (SED). Mapping from the reference's options, with lambda and manual_lambda:
///   cross_entropy_weight = 1 - lambda,   repulsion_weight = manual_lambda * lambda,   regulariser_weight = reg_weight * lambda,
///   from_epoch = disagree_after_epoch,   repulsion_on labelled = use_always_labeled,   sample_weight hard = modifier "budget".
/// lambda = 0 is repulsion none and no regulariser (the reference then skips both); manual_lambda = 0 keeps the repulsion, reported with weight 0.
struct ObjectiveOptions {
  enum class Repulsion { kNone, kA2d, kDivDis };
  enum class SampleWeight { kNone, kHard };
  enum class RepulsionOn { kLabelled, kUnlabelled };

  double cross_entropy_weight = 0.5;  ///< >= 0
  double label_smoothing = 0.0;       ///< 0 .. 1
  bool product_of_experts = false;    ///< cross-entropy of softmax(sum over members of log softmax) instead of its mean over members
  Repulsion repulsion = Repulsion::kNone;
  double repulsion_weight = 0.5;  ///< >= 0
  SampleWeight sample_weight = SampleWeight::kNone;
  int64_t from_epoch = 0;  ///< repulsion and regulariser are on from this epoch (epochs of training count from 0, the frozen one not)
  losses::DivDisMode divdis_mode = losses::DivDisMode::kMutualInformation;
  losses::DivDisReduction divdis_reduction = losses::DivDisReduction::kMean;
  std::optional<double> below_threshold;  ///< 0 .. 1: samples with p_y <= threshold for some member repel, only the others are trained
  RepulsionOn repulsion_on = RepulsionOn::kLabelled;
  std::optional<double> regulariser_weight;  ///< >= 0: weight of kl_backward, computed where the repulsion is
};

/// Throws Error::kUsage for a contradiction: the hard weight with DivDis, with a threshold or with unlabelled data; a threshold with unlabelled
/// data or with nothing to repel; a weight or share out of range. Call it before the first step.
void check(const ObjectiveOptions& options);

/// One step's values. A NaN in any term reaches `total` and stays there: the caller decides (training.on_nan).
struct ObjectiveValue {
  at::Tensor total;          ///< scalar, differentiable: minimise this
  at::Tensor cross_entropy;  ///< scalar, detached ("task_loss"): mean over members and trained samples, without its weight; 0 if no sample is trained
  at::Tensor repulsion;      ///< scalar, detached: mean over samples of weight * repulsion, without repulsion_weight; 0 while off
  at::Tensor regulariser;    ///< scalar, detached, without its weight; 0 while off
};

///   total = cross_entropy_weight * CE + repulsion_weight * mean_b(w_b R_b) + regulariser_weight * KL
/// logits      [A, B, C]  f32 or f64, any device: the ACTIVE members in index order; A >= 2 where a repulsion is on (else Error::kUsage)
/// labels      [B]        i64, same device
/// unlabelled  [A, B', C] of the same dtype and device; used only with repulsion_on unlabelled. None given then: no repulsion, as in the reference
/// m           the drawn member of A2D, an index into the A active ones
/// epoch       epoch of training; before from_epoch the threshold does not split either, and CE keeps its weight
/// With a threshold: CE where every member has p_y > threshold, repulsion on the rest; a part without samples contributes 0, the regulariser needs
/// both. The threshold reads counts from the device (one synchronisation). Throws Error::kUsage as check(), and for shapes, dtypes, devices, labels.
/// Ref: SED diverse_universe/train/losses.py DivDisLossWrapper.forward; cases sed_losses.h5 sed_total.
ObjectiveValue objective(const at::Tensor& logits, const at::Tensor& labels, const std::optional<at::Tensor>& unlabelled, int64_t m, int64_t epoch,
                         const ObjectiveOptions& options);

}  // namespace dissent
