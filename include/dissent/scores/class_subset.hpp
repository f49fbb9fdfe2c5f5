#pragma once
#include <cstdint>

#include <dissent/scores/input.hpp>

namespace dissent::scores {

// Evaluation of members trained on C classes on sets with fewer or coarser classes. Each maps
// outputs to [..., K]; take the result as kProbabilities. Throw Error::kUsage for shape, dtype and
// device, and for a mask or category without a class.
// Ref: SED diverse_universe/local_models/wrappers.py, model_vs_human; cases sed_scores.h5
// imagenet_ar_wrapper, in9_wrapper, mvh_wrapper.

/// ImageNet-A and -R as in SED's release: each row votes one-hot for its argmax over ALL classes
/// (first index on ties), then only the columns of the mask stay. A row whose class is outside
/// gives zeros: it abstains. The mean over members of the result counts the votes. outputs [..., C]
/// f32 or f64 (logits or probabilities), mask [C] bool with K true; returns [..., K] of the same
/// dtype
at::Tensor votes_in_subset(const at::Tensor& outputs, const at::Tensor& mask);

/// ImageNet-9 and model-vs-human: MEAN of the probabilities of each category's classes; rows do not
/// sum to 1.
///   r_k = mean over c with category k of p_c
/// categories [K, C] bool, each row with at least one class; returns [..., K]
at::Tensor category_means(const at::Tensor& outputs, InputKind kind, const at::Tensor& categories);

/// [K, C] bool from a category number per class, class_to_category [C] i64 on any device; -1 is in
/// no category (ImageNet-9 drops those).
at::Tensor category_mask(const at::Tensor& class_to_category, int64_t categories);

/// Predicted class of rows [..., K] of one of the above (or their mean over members): the argmax,
/// lowest index on ties; -1 for a row of zeros (all abstained).
at::Tensor subset_predictions(const at::Tensor& rows);

/// Confidence of this prediction: the largest value of the row; 0 for a row of zeros.
at::Tensor subset_confidence(const at::Tensor& rows);

}  // namespace dissent::scores
