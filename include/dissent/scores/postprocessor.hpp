#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

// Post-processors: a score of each sample from cached features and a linear head, in two steps.
//   fit_<name>(data, options) -> State
//       reads training or validation data once or twice, in blocks of rows
//   score_<name>(state, features, logits) -> [N]
//       of each sample alone: the batch it comes in does not matter
// Scores are f64 and larger for samples in distribution. All arithmetic is f64, on blocks of rows
// of what is given (f32 or f64), on the device of the inputs; on the CPU blocks run on the threads
// of core/parallel.hpp, with the same bits for any number of them. No input is changed. A sample
// with a feature that is not finite scores NaN. Everything that scoring needs is in the state,
// which can be saved as it is; it shares the memory of the inputs where it holds them unchanged
// (the features of knn).
// Throw Error::kUsage for shape, dtype, device, an input that is missing, an option outside of its
// range; Error::kData for values that are not finite.
namespace dissent::scores {

/// Cached outputs of a network on one set, in the set's order.
struct FeatureSet {
  at::Tensor features;  ///< h [N, D] f32 or f64, what the head reads
  at::Tensor logits;  ///< z [N, C], dtype of the features; may be left out where the head is given:
                      ///< then h W^T + b
  at::Tensor labels;  ///< y [N] i64
};

/// z = h W^T + b
struct LinearHead {
  at::Tensor weight;  ///< [C, D], dtype of the features
  at::Tensor bias;    ///< [C]
};

/// What a post-processor is fitted on; each says which of these it reads.
struct FitData {
  FeatureSet train, validation;
  LinearHead head;
  at::Tensor order;  ///< [N] i64, an order of the training rows: cfood takes the first of them;
                     ///< left out: drawn by its seed
};

/// What was fitted, by name. Options that scoring reads are tensors of no dimension.
using State = std::map<std::string, at::Tensor>;

/// Rows of a block where that is no option.
constexpr int64_t kBlockRows = 1024;

}  // namespace dissent::scores
