#include "models/networks/image_network.hpp"

#include <cstdint>
#include <utility>

#include <fmt/ranges.h>

#include "core/random.hpp"
#include "core/tensor_check.hpp"

namespace dissent {

std::vector<at::Tensor> unpack(const at::Tensor& flat, const ParameterLayout& layout) {
  DISSENT_CHECK(flat.dim() == 1 && flat.size(0) == layout.size(), kUsage,
                "unpack: flat: expected [{}], found {}", layout.size(), describe(flat));
  const auto& entries = layout.entries();
  std::vector<int64_t> extents;  // with the padding after each
  for (size_t i = 0; i < entries.size(); ++i)
    extents.push_back((i + 1 < entries.size() ? entries[i + 1].offset : layout.size()) -
                      entries[i].offset);

  // One split has one backward node; separate narrows would each add a full-size gradient.
  auto tensors = entries.empty() ? std::vector<at::Tensor>{} : at::split_with_sizes(flat, extents);
  for (size_t i = 0; i < tensors.size(); ++i)
    tensors[i] = tensors[i].narrow(0, 0, entries[i].numel).view(entries[i].shape);
  return tensors;
}

void ImageNetwork::initialise(at::Tensor flat, uint64_t seed, int64_t member) const {
  DISSENT_CHECK(flat.dim() == 1 && flat.size(0) == layout().size(), kUsage,
                "initialise: flat: expected [{}], found {}", layout().size(), describe(flat));

  // The padding between the entries as well: updates leave it at 0.
  flat.zero_();
  for (size_t i = 0; i < parts_.initial.size(); ++i) {
    const auto values = parameter(flat, layout().entry(i));
    const auto [kind, value] = parts_.initial[i];

    // A key per parameter: the draws do not depend on the order or size of other parameters.
    const Random random(seed, Purpose::kWeights, member, i);
    switch (kind) {
      case Initial::Kind::kConstant: values.fill_(value); break;
      case Initial::Kind::kUniform: fill_uniform(values, -value, value, random); break;
      case Initial::Kind::kNormal: fill_truncated_normal(values, value, random); break;
    }
  }
}

void ImageNetwork::initialise_buffers(at::Tensor flat) const {
  flat.zero_();
  for (size_t i = 0; i < parts_.buffer_initial.size(); ++i)
    parameter(flat, buffer_layout().entry(i)).fill_(parts_.buffer_initial[i]);
}

Pass ImageNetwork::make_pass(const std::vector<at::Tensor>& parameters, const at::Tensor& buffers,
                             const at::Tensor& x, bool training, Communicator* data) const {
  DISSENT_CHECK(parameters.size() == layout().entries().size(), kUsage,
                "image network: parameters: expected {} tensors, found {}",
                layout().entries().size(), parameters.size());

  // With synchronised statistics a rank may have no rows: it still takes part in every exchange.
  const int64_t least = training && data ? 0 : 1;
  DISSENT_CHECK(x.defined() && x.dim() == 4 && x.size(0) >= least && x.size(1) == channels_, kUsage,
                "image network: x: expected [B >= {}, {}, H, W], found {}", least, channels_,
                describe(x));

  const bool fits = buffer_layout().size() == 0 || (buffers.defined() && buffers.dim() == 1 &&
                                                    buffers.size(0) == buffer_layout().size());
  DISSENT_CHECK(fits, kUsage, "image network: buffers: expected [{}], found {}",
                buffer_layout().size(), describe(buffers));
  const auto expected = size_misfit(x.size(2), x.size(3));
  DISSENT_CHECK(expected.empty(), kUsage,
                "image network: x: expected images with edges of {}, found {}", expected,
                describe(x));

  if (buffer_layout().size() == 0) return {parameters, {}, training, data};

  // A graph of an evaluation pass saves the running statistics. They are copied, since a training
  // pass may move them in place before its backward pass.
  auto views =
      unpack(!training && at::GradMode::is_enabled() ? buffers.clone() : buffers, buffer_layout());
  // In training mode autograd saves the running statistics although their values are not used.
  // Aliases with separate version counters allow them to be updated before the backward pass.
  if (training)
    for (auto& view : views) view = view.variable_data();
  return {parameters, std::move(views), training, data};
}

ImageOutput ImageNetwork::forward(const std::vector<at::Tensor>& parameters,
                                  const at::Tensor& buffers, const at::Tensor& x, bool training,
                                  Communicator* data) const {
  auto out = run(make_pass(parameters, buffers, x, training, data), x);
  // Under autocast layers return half precision; losses need the precision of the parameters.
  const auto dtype = parameters.empty() ? x.scalar_type() : parameters[0].scalar_type();
  if (out.logits.defined()) out.logits = out.logits.to(dtype);
  out.features = out.features.to(dtype);
  return out;
}

at::Tensor ImageNetwork::features_at(const std::string& cut,
                                     const std::vector<at::Tensor>& parameters,
                                     const at::Tensor& buffers, const at::Tensor& x) const {
  DISSENT_CHECK(cut == kFeaturesCut, kUsage, "cut: expected one of {}, found '{}'",
                fmt::join(cuts(), ", "), cut);
  return forward(parameters, buffers, x, false).features;
}

}  // namespace dissent
