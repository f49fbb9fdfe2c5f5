#include "models/networks/resnet.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/tensor_check.hpp"

namespace dissent {
namespace {

int64_t expansion(const ResNetOptions& options) { return options.bottleneck ? 4 : 1; }

}  // namespace

ResNet::ResNet(const ResNetOptions& options)
    : ImageNetwork(options.channels, options.classes, 8 * options.width * expansion(options)),
      options_(options) {
  const ConvolutionShape stem =
      options.torchvision
          ? ConvolutionShape{.in = options.channels,
                             .out = options.width,
                             .kernel = 7,
                             .stride = 2,
                             .padding = 3}
          : ConvolutionShape{
                .in = options.channels, .out = options.width, .kernel = 3, .padding = 1};
  stem_ = add_convolution(parts_, "conv1", stem, options.torchvision);
  stem_norm_ = add_batch_norm(parts_, "bn1", options.width);

  int64_t in = options.width;
  for (int64_t l = 0; l < 4; ++l)
    for (int64_t b = 0; b < options.blocks[l]; ++b) {
      // Each layer doubles the channels; from the second on its first block halves the edge.
      const int64_t planes = options.width << l;
      layers_[l].push_back(
          add_block(fmt::format("layer{}.{}", l + 1, b), in, planes, l > 0 && b == 0 ? 2 : 1));
      in = planes * expansion(options);
    }
  if (options.classes > 0)
    fc_ = add_linear(parts_, "fc", {.in = feature_dim(), .out = options.classes});
}

ResNet::Block ResNet::add_block(const std::string& name, int64_t in, int64_t planes,
                                int64_t stride) {
  const int64_t out = planes * expansion(options_);
  std::vector<ConvolutionShape> shapes;
  if (options_.bottleneck)
    shapes = {{.in = in, .out = planes, .kernel = 1},
              {.in = planes, .out = planes, .kernel = 3, .stride = stride, .padding = 1},
              {.in = planes, .out = out, .kernel = 1}};
  else
    shapes = {{.in = in, .out = planes, .kernel = 3, .stride = stride, .padding = 1},
              {.in = planes, .out = planes, .kernel = 3, .padding = 1}};

  Block block;
  for (size_t i = 0; i < shapes.size(); ++i) {
    block.convolutions.push_back(add_convolution(parts_, fmt::format("{}.conv{}", name, i + 1),
                                                 shapes[i], options_.torchvision));
    block.norms.push_back(
        add_batch_norm(parts_, fmt::format("{}.bn{}", name, i + 1), shapes[i].out));
  }

  // A projection where the shortcut changes its shape.
  if (stride != 1 || in != out) {
    const std::string shortcut = name + (options_.torchvision ? ".downsample" : ".shortcut");
    block.shortcut.push_back(add_convolution(parts_, shortcut + ".0",
                                             {.in = in, .out = out, .kernel = 1, .stride = stride},
                                             options_.torchvision));
    block.shortcut_norm.push_back(add_batch_norm(parts_, shortcut + ".1", out));
  }
  return block;
}

at::Tensor ResNet::run_block(const Block& block, const Pass& pass, const at::Tensor& x) const {
  auto y = x;
  for (size_t i = 0; i < block.convolutions.size(); ++i) {
    y = block.norms[i](pass, block.convolutions[i](pass, y));
    // The last ReLU comes after the addition of the shortcut.
    if (i + 1 < block.convolutions.size()) y.relu_();
  }

  y.add_(block.shortcut.empty() ? x : block.shortcut_norm[0](pass, block.shortcut[0](pass, x)));
  return y.relu_();
}

std::string ResNet::size_misfit(int64_t height, int64_t width) const {
  if (options_.pool == 0) return "";
  // Total stride: 2 in three stages, and in torchvision's stem and pooling; sizes are rounded up.
  const int64_t stride = options_.torchvision ? 32 : 8, least = (options_.pool - 1) * stride + 1,
                most = (2 * options_.pool - 1) * stride;
  const auto fits = [&](int64_t edge) { return edge >= least && edge <= most; };
  return fits(height) && fits(width) ? "" : fmt::format("{} .. {} pixels", least, most);
}

at::Tensor ResNet::pooled(const at::Tensor& x) const {
  if (options_.pool == 0) return x.mean(at::IntArrayRef{2, 3});
  const bool one = x.size(2) / options_.pool == 1 && x.size(3) / options_.pool == 1;
  DISSENT_CHECK(one, kUsage,
                "resnet: x: expected a last map that {} x {} pooling reduces to one value per "
                "channel, found {}",
                options_.pool, options_.pool, describe(x));
  return at::avg_pool2d(x, {options_.pool, options_.pool}).flatten(1);
}

ImageOutput ResNet::run(const Pass& pass, const at::Tensor& x) const {
  auto y = stem_norm_(pass, stem_(pass, x)).relu_();
  if (options_.torchvision) y = at::max_pool2d(y, {3, 3}, {2, 2}, {1, 1});

  ImageOutput out;
  for (int64_t l = 0; l < 4; ++l) {
    for (const auto& block : layers_[l]) y = run_block(block, pass, y);
    // The output of layer3 is the map that saliency losses differentiate with respect to.
    if (l == 2) out.maps = y = as_parameters(pass, y);
  }

  out.features = pooled(y);
  if (classes() > 0) out.logits = fc_(pass, out.features);
  return out;
}

}  // namespace dissent
