#pragma once
#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace dissent::losses {

/// The tensors (feature maps, images) that the logits of M members were computed from, for
/// derivatives of logits with respect to them. Each is part of the logits' graph: a leaf that
/// requires gradients or the result of operations on one. Logits of member m depend on the m-th
/// part alone.
class MemberInputs {
 public:
  enum class Kind { kStacked, kEach, kShared };

  /// [M, B, ...]: one tensor that all logits were computed from; member m read its m-th part. One
  /// pass.
  static MemberInputs stacked(at::Tensor all) { return {Kind::kStacked, {std::move(all)}}; }
  /// M tensors [B, ...]. One pass, or M where a tensor appears twice.
  static MemberInputs each(std::vector<at::Tensor> tensors) {
    return {Kind::kEach, std::move(tensors)};
  }
  /// [B, ...]: one tensor that every member read (a shared trunk, the same images). M passes, each
  /// through the graphs of all members: to pay one, let every member read a view of its own
  /// (x.view_as(x)) and give the views to each().
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
