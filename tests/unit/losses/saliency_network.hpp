// A small network with second derivatives, for the losses on saliency maps.
#pragma once
#include <cstdint>
#include <vector>

#include "finite_difference.hpp"

namespace dissent::testing {

/// logits_bc = sum_p W2_cp mean_xy tanh(sum_k W1_pk f_bkxy) of one member; f [B, K, H, W], W1 [P,
/// K], W2 [C, P].
inline at::Tensor pixel_head(const at::Tensor& f, const at::Tensor& w1, const at::Tensor& w2) {
  const auto hidden = at::matmul(w1, f.flatten(2)).tanh().mean(2);  // [B, P]
  return at::matmul(hidden, w2.t());
}

/// M members' weights and feature maps, f64; the maps and weights require gradients.
struct SaliencyNetwork {
  SaliencyNetwork(int64_t members, int64_t rows, int64_t classes, int64_t maps = 3,
                  int64_t side = 5, uint64_t seed = 3) {
    const int64_t hidden = 4;
    f = made_logits(members * rows, maps, side * (side + 1), 1, seed)
            .view({members, rows, maps, side, side + 1})
            .set_requires_grad(true);
    w1 = made_logits(members, hidden, maps, 1, seed + 1).set_requires_grad(true);
    w2 = made_logits(members, classes, hidden, 1, seed + 2).set_requires_grad(true);
    labels = at::arange(rows, at::kLong).remainder(classes);
  }
  /// Of maps that are one stack, so that the graph leads to that very tensor.
  at::Tensor logits(const at::Tensor& stacked) const { return logits(stacked.unbind(0)); }
  at::Tensor logits(const std::vector<at::Tensor>& each) const {
    std::vector<at::Tensor> outputs;
    for (size_t m = 0; m < each.size(); ++m)
      outputs.push_back(pixel_head(each[m], w1.select(0, static_cast<int64_t>(m)),
                                   w2.select(0, static_cast<int64_t>(m))));
    return at::stack(outputs);
  }
  SaliencyNetwork to(at::ScalarType dtype) const {
    auto copy = *this;
    for (auto* tensor : {&copy.f, &copy.w1, &copy.w2})
      *tensor = tensor->detach().to(dtype).set_requires_grad(true);
    return copy;
  }

  at::Tensor f, w1, w2, labels;
};

/// The tensor itself, or a leaf with its values where it has no graph: finite differences evaluate
/// functions without one.
inline at::Tensor with_graph(const at::Tensor& tensor) {
  return tensor.requires_grad() ? tensor : tensor.detach().clone().set_requires_grad(true);
}

}  // namespace dissent::testing
