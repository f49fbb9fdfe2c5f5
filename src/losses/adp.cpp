#include <dissent/losses/adp.hpp>
#include <dissent/losses/similarity.hpp>

#include <limits>

#include "core/tensor_check.hpp"

namespace dissent::losses {

at::Tensor adp(const at::Tensor& logits, const at::Tensor& labels, const AdpOptions& options) {
  check_outputs("adp", "logits", logits, 1);
  check_labels("adp", "labels", labels, logits.size(1), logits.size(2), logits.device());
  check_range("adp", "alpha", options.alpha, 0, std::numeric_limits<double>::max());
  check_range("adp", "beta", options.beta, 0, std::numeric_limits<double>::max());
  const auto p = at::softmax(logits, -1);
  const auto q = p.mean(0);
  // An entry of 0 is as good as one that is left out: norms and products are the same.
  const auto target =
      at::arange(logits.size(2), labels.options()).eq(labels.unsqueeze(1));  // [B, C]
  const auto others = similarity(p.masked_fill(target, 0), Similarity::kLogDet);
  return (q * (q + kAdpLogEps).log()).sum(-1).mean() * options.alpha + others * options.beta;
}

}  // namespace dissent::losses
