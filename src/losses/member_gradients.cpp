#include "losses/member_gradients.hpp"

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/tensor_check.hpp"

namespace dissent::losses {
namespace {

std::string expected_shape(MemberInputs::Kind kind, const at::Tensor& logits, int64_t dims) {
  const auto members =
      kind == MemberInputs::Kind::kStacked ? fmt::format("{}, ", logits.size(0)) : std::string();
  return fmt::format("[{}{}, {}] {} {}", members, logits.size(1), dims == 4 ? "K, H, W" : "...",
                     c10::toString(logits.scalar_type()), logits.device().str());
}

bool all_differ(const std::vector<at::Tensor>& tensors) {
  std::set<const void*> seen;
  for (const auto& tensor : tensors)
    if (!seen.insert(tensor.unsafeGetTensorImpl()).second) return false;
  return true;
}

}  // namespace

void check_inputs(Argument argument, const at::Tensor& logits, const MemberInputs& inputs,
                  int64_t dims) {
  const auto& [function, name] = argument;
  const auto kind = inputs.kind();

  // Dimensions before the part of one sample: [M, B] of a stacked tensor, else [B].
  const int64_t members = logits.size(0), leading = kind == MemberInputs::Kind::kStacked ? 2 : 1;
  const auto count = static_cast<int64_t>(inputs.tensors().size());
  DISSENT_CHECK(kind != MemberInputs::Kind::kEach || count == members, kUsage,
                "{}: {}: expected {} tensors, found {}", function, name, members, count);

  for (const auto& tensor : inputs.tensors()) {
    // Dtype, device and batch are those of the logits; dims = 0 stands for any shape of a sample.
    bool fits = tensor.defined() && tensor.scalar_type() == logits.scalar_type() &&
                tensor.device() == logits.device() && tensor.numel() > 0;
    fits = fits && (dims == 0 ? tensor.dim() > leading : tensor.dim() == leading - 1 + dims) &&
           tensor.size(leading - 1) == logits.size(1);
    fits = fits && (leading == 1 || tensor.size(0) == members);
    DISSENT_CHECK(fits, kUsage, "{}: {}: expected {}, found {}", function, name,
                  expected_shape(kind, logits, dims), describe(tensor));
    DISSENT_CHECK(
        tensor.requires_grad(), kUsage,
        "{}: {}: expected a tensor that requires gradients and that the logits were computed from",
        function, name);
  }
  DISSENT_CHECK(logits.requires_grad(), kUsage,
                "{}: logits: expected logits with their graph, found ones without", function);
}

std::vector<at::Tensor> parts(const MemberInputs& inputs, int64_t members) {
  const auto& tensors = inputs.tensors();
  if (inputs.kind() == MemberInputs::Kind::kEach) return tensors;
  if (inputs.kind() == MemberInputs::Kind::kShared)
    return std::vector<at::Tensor>(members, tensors[0]);
  // unbind instead of M times select, whose derivative would fill M tensors of the whole size.
  return tensors[0].unbind(0);
}

std::vector<at::Tensor> member_gradients(Argument argument, const at::Tensor& outputs,
                                         const MemberInputs& inputs, bool create_graph,
                                         double scale) {
  check_range(argument.function, "scale", scale, std::numeric_limits<double>::min(),
              std::numeric_limits<double>::max());

  const auto& tensors = inputs.tensors();

  // Gradients of a scaled output, divided by the scale again. Where the scale made a derivative
  // overflow, adding NaN marks the whole tensor.
  const auto gradients_of = [&](const at::Tensor& output, const std::vector<at::Tensor>& of) {
    const auto scaled = scale == 1 ? output : output * scale;
    auto gradients = torch::autograd::grad({scaled}, of, {}, true, create_graph, true);
    for (auto& gradient : gradients) {
      DISSENT_CHECK(
          gradient.defined(), kUsage,
          "{}: {}: expected a tensor that the logits depend on, found one that they do not",
          argument.function, argument.name);

      if (scale == 1) continue;
      const at::AutoGradMode mode(create_graph);
      const auto overflow = (gradient.detach() * 0).sum();  // 0, or NaN
      gradient = gradient / scale + overflow;
    }
    return gradients;
  };

  // If members share no tensor, one backward pass is enough: the derivative of the sum with respect
  // to a member's part is that of its own output.
  if (inputs.kind() == MemberInputs::Kind::kStacked)
    return gradients_of(outputs.sum(), tensors)[0].unbind(0);
  if (inputs.kind() == MemberInputs::Kind::kEach && all_differ(tensors))
    return gradients_of(outputs.sum(), tensors);

  // Otherwise one backward pass per member.
  std::vector<at::Tensor> gradients;
  const auto of_members = outputs.unbind(0);
  for (size_t m = 0; m < of_members.size(); ++m)
    gradients.push_back(gradients_of(
        of_members[m], {tensors[inputs.kind() == MemberInputs::Kind::kShared ? 0 : m]})[0]);
  return gradients;
}

at::Tensor at_label(const at::Tensor& values, const at::Tensor& labels) {
  return values.gather(-1, labels.view({1, -1, 1}).expand({values.size(0), -1, 1})).squeeze(-1);
}

}  // namespace dissent::losses
