#pragma once
#include <any>
#include <cstdint>
#include <string>
#include <vector>

#include "losses/registry.hpp"

namespace dissent::losses {

/// One loss of an objective.
struct LossTerm {
  std::string name;
  LossWeight weight = {};
  std::any options = {};  ///< the struct of the loss, or empty for its defaults
};

/// Whether the term is a loss of kind base, which trains each member for its task.
bool is_base(const LossTerm& term);
/// The loss's traits at the term's options.
LossTraits traits_of(const LossTerm& term);

struct WeightedSum {
  struct Value {
    std::string name;
    double weight;     ///< in this step
    at::Tensor value;  ///< scalar, detached, without its weight
  };
  at::Tensor total;           ///< scalar, differentiable: minimise this
  std::vector<Value> values;  ///< of the terms that are on, in their order
};

/// The objective of one step:
///   total = sum over terms of weight_at(term, epoch, step) * loss
/// Terms whose weight is 0 are not computed. Losses of kind base read `base`: each member's own
/// batch. All others read `diversity`: one batch that every member saw, with its labels or, for
/// outliers, with the classes that the mean logits predict (predicted_labels). For a common batch
/// pass the same input twice.
/// Throws Error::kUsage like evaluate(), and if no term is on and no logits give the dtype and
/// device of a zero.
/// Ref: sdde openood/trainers/deed_trainer.py DEEDTrainer.train_epoch; cases sdde_losses.h5 total.
WeightedSum weighted_sum(const std::vector<LossTerm>& terms, const LossInput& base,
                         const LossInput& diversity, int64_t epoch, int64_t step);

/// Class of the largest mean logit of each sample (first on ties), [B] i64, no gradient. logits [M,
/// B, C] f32 or f64.
at::Tensor predicted_labels(const at::Tensor& logits);

}  // namespace dissent::losses
