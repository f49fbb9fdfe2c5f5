#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "losses/weighted_sum.hpp"

namespace dissent {

/// A step whose loss or gradient is not finite.
struct Divergence {
  const char* what = "loss";  ///< or "gradient"
  int64_t epoch = 0, step = 0;
  double found = 0;     ///< the value of the loss, or the norm of the gradient
  std::string members;  ///< names the members concerned (bad_members); may be empty
  double learning_rate = 0;
};

/// "training (epoch 3, step 17): expected a finite loss, found nan: training has diverged (...)":
/// with the terms of the objective and the members that are not finite, and advice.
/// values  value of each term, without its weight; may be empty
std::string divergence_message(const Divergence& divergence,
                               const std::vector<losses::LossTerm>& terms,
                               const std::vector<double>& values);

/// "outputs of member 3 are not finite"; if all are finite, names the member with the largest
/// output; empty without outputs.
/// outputs  [A, ...] of the members numbered `members`
std::string bad_members(const at::Tensor& outputs, const std::vector<int64_t>& members);

/// "members 3, 4".
std::string members_text(const std::vector<int64_t>& members);

}  // namespace dissent
