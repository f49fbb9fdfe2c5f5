#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

// Post-processors: a score of each sample from cached features and a linear head, in two steps.
//   fit_<name>(data, options) -> State
//       reads training or validation data once or twice, in blocks of rows
//   score_<name>(state, features, logits) -> [N]
//       depends on each sample alone, not on its batch
// Scores are f64 and larger for samples in distribution. All arithmetic is f64, on blocks of rows
// of the inputs (f32 or f64), on their device; on the CPU blocks run on the threads of
// core/parallel.hpp, with the same bits for any number of threads. No input is changed. A sample
// with a feature that is not finite scores NaN. The state has everything that scoring needs and can
// be saved; it shares the memory of inputs that it holds unchanged (the features of knn).
// Throw Error::kUsage for shape, dtype, device, a missing input, an option outside of its range;
// Error::kData for values that are not finite.
namespace dissent::scores {

/// Cached outputs of a network on one set, in the set's order.
struct FeatureSet {
  at::Tensor features;  ///< h [N, D] f32 or f64, inputs of the head
  at::Tensor logits;    ///< z [N, C], dtype of the features; may be undefined if the head is given:
                        ///< then h W^T + b
  at::Tensor labels;    ///< y [N] i64
};

/// z = h W^T + b
struct LinearHead {
  at::Tensor weight;  ///< [C, D], dtype of the features
  at::Tensor bias;    ///< [C]
};

/// Inputs of fits; each post-processor documents which of them it reads.
struct FitData {
  FeatureSet train, validation;
  LinearHead head;
  at::Tensor order;  ///< [N] i64, an order of the training rows, of which cfood takes the first;
                     ///< undefined: drawn by its seed
};

/// Fitted tensors by name. Options that scoring reads are tensors without dimensions.
using State = std::map<std::string, at::Tensor>;

/// Rows per block for post-processors without an option for it.
constexpr int64_t kBlockRows = 1024;

}  // namespace dissent::scores
