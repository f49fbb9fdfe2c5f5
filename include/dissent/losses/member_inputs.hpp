#pragma once
#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace dissent::losses {

/// The tensors (feature maps, images) from which the logits of M members were computed, and with
/// respect to which the logits are differentiated. Each is part of the graph of the logits: a leaf
/// that requires gradients, or computed from one. The logits of member m depend on the m-th part
/// alone.
class MemberInputs {
 public:
  enum class Kind { kStacked, kEach, kShared };

  /// [M, B, ...]: one tensor whose m-th part was read by member m. Costs one backward pass.
  static MemberInputs stacked(at::Tensor all) { return {Kind::kStacked, {std::move(all)}}; }
  /// M tensors [B, ...]. Costs one backward pass, or M if a tensor appears twice.
  static MemberInputs each(std::vector<at::Tensor> tensors) {
    return {Kind::kEach, std::move(tensors)};
  }
  /// [B, ...]: one tensor that every member read (a shared trunk, the same images). Costs M
  /// backward passes, each through the graphs of all members. For one pass, let every member read
  /// its own view (x.view_as(x)) and pass the views to each().
  static MemberInputs shared(at::Tensor one) { return {Kind::kShared, {std::move(one)}}; }

  Kind kind() const { return kind_; }
  /// One tensor (stacked, shared) or M.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }

 private:
  MemberInputs(Kind kind, std::vector<at::Tensor> tensors)
      : kind_(kind), tensors_(std::move(tensors)) {}
  Kind kind_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace dissent::losses
