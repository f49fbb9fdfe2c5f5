#include "models/networks/multihead.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dissent/error.hpp>

namespace dissent {

Multihead::Multihead(std::unique_ptr<const ImageNetwork> trunk, int64_t heads, int64_t classes)
    : ImageNetwork(trunk->channels(), classes, trunk->feature_dim()), trunk_(std::move(trunk)) {
  DISSENT_CHECK(heads >= 1 && classes >= 1 && trunk_->classes() == 0, kUsage,
                "multihead: expected heads >= 1, classes >= 1 and a trunk without classifier, "
                "found {}, {}, {}",
                heads, classes, trunk_->classes());
  // The trunk's parameters and buffers come first, so their positions stay valid.
  const auto& own = trunk_->parts();
  for (size_t i = 0; i < own.initial.size(); ++i)
    add_parameter(parts_, "backbone." + own.parameters.entry(i).name, own.parameters.entry(i).shape,
                  own.initial[i]);
  for (const auto& entry : own.buffers.entries())
    parts_.buffers.add("backbone." + entry.name, entry.shape);
  parts_.buffer_initial = own.buffer_initial;

  // Each head is linear, ReLU, linear; the names are those of a torch.nn.Sequential.
  const int64_t dim = feature_dim();
  for (int64_t m = 0; m < heads; ++m) {
    const std::string name = fmt::format("heads.{}", m);
    Head head;
    head.hidden = add_linear(parts_, name + ".0", {.in = dim, .out = dim});
    head.output = add_linear(parts_, name + ".2", {.in = dim, .out = classes});
    heads_.push_back(head);
  }
}

ImageOutput Multihead::run(const Pass& pass, const at::Tensor& x) const {
  // One pass of the trunk serves all heads: logits [M, B, C].
  auto out = trunk_->run(pass, x);
  std::vector<at::Tensor> logits;
  for (const auto& head : heads_)
    logits.push_back(head.output(pass, head.hidden(pass, out.features).relu_()));
  out.logits = at::stack(logits);
  return out;
}

}  // namespace dissent
