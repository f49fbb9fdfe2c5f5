#pragma once
#include <ATen/core/Tensor.h>

namespace dissent::scores {

/// Kind of the members' outputs. It is an argument of every score: the reference guesses it (all
/// values within [0, 1]: probabilities), which fails on one-hot votes and on small logits.
enum class InputKind {
  kLogits,         ///< softmax is applied where a score needs probabilities
  kProbabilities,  ///< used unchanged; rows need not sum to 1 (category means, votes)
};

/// Probabilities [M, B, C] of outputs [M, B, C]: their softmax, or the outputs themselves.
at::Tensor probabilities(const at::Tensor& outputs, InputKind kind);

/// -sum over the last dimension of p log p, nats, 0 log 0 = 0; p need not sum to 1.
at::Tensor entropy(const at::Tensor& p);

}  // namespace dissent::scores
