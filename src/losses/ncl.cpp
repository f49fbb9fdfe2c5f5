#include <dissent/losses/ncl.hpp>
#include <dissent/losses/similarity.hpp>

#include "core/tensor_check.hpp"

namespace dissent::losses {

at::Tensor ncl(const at::Tensor& logits) {
  check_outputs("ncl", "logits", logits, 2);
  const auto p = at::softmax(logits, -1);
  return similarity(p - p.detach().mean(0, true), Similarity::kDot);
}

}  // namespace dissent::losses
