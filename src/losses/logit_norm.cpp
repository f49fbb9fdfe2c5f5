#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/logit_norm.hpp>

#include <cmath>

#include "core/tensor_check.hpp"
#include "losses/root.hpp"

namespace dissent::losses {

at::Tensor logit_norm(const at::Tensor& logits, const at::Tensor& labels,
                      const LogitNormOptions& options) {
  check_outputs("logit_norm", "logits", logits, 1);
  check_labels("logit_norm", "labels", labels, logits.size(1), logits.size(2), logits.device());
  DISSENT_CHECK(options.tau > 0 && std::isfinite(options.tau), kUsage,
                "logit_norm: tau: expected a number > 0, found {}", options.tau);
  const auto norm = root(logits.square().sum(-1, true));
  return cross_entropy(logits / ((norm + kLogitNormEps) * options.tau), labels);
}

}  // namespace dissent::losses
