#include "models/networks/registry.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/options.hpp"
#include "models/networks/lenet.hpp"
#include "models/networks/multihead.hpp"
#include "models/networks/resnet.hpp"
#include "models/networks/vision_transformer.hpp"

namespace dissent {
namespace {

std::unique_ptr<ImageNetwork> make_lenet(const ImageNetworkOptions& options) {
  return std::make_unique<LeNet>(options.channels, options.classes);
}

std::unique_ptr<ImageNetwork> make_resnet(const ImageNetworkOptions& options, ResNetOptions kind) {
  kind.channels = options.channels;
  kind.classes = options.classes;
  return std::make_unique<ResNet>(kind);
}

template <int64_t kDim, int64_t kDepth, int64_t kHeads>
std::unique_ptr<ImageNetwork> make_deit3(const ImageNetworkOptions& options) {
  return std::make_unique<VisionTransformer>(
      VisionTransformerOptions{.channels = options.channels,
                               .classes = options.classes,
                               .image_size = options.image_size.value_or(224),
                               .dim = kDim,
                               .depth = kDepth,
                               .attention_heads = kHeads});
}

constexpr const char* kLeNetCitation =
    "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, "
    "Proceedings of the IEEE 86(11), 1998";
constexpr const char* kResNetCitation =
    "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016";
constexpr const char* kDeit3Citation =
    "Touvron, Cord, Jegou: DeiT III: Revenge of the ViT, ECCV 2022, arXiv:2204.07118";

}  // namespace

const std::vector<ImageNetworkSpec>& image_network_registry() {
  static const std::vector<ImageNetworkSpec> registry{
      // Name, description, citation, edge of the images it is made for, function that makes it.
      {"lenet", "LeNet-5 with ReLU and max pooling, for 28 x 28", kLeNetCitation, 28, make_lenet},

      {"resnet18_32x32", "ResNet-18 with a 3 x 3 stem without stride, any image size",
       kResNetCitation, 32,
       [](const ImageNetworkOptions& options) { return make_resnet(options, {}); }},
      {"resnet18_64x64", "the same with 8 x 8 average pooling, for 64 x 64", kResNetCitation, 64,
       [](const ImageNetworkOptions& options) { return make_resnet(options, {.pool = 8}); }},
      {"resnet18_224x224", "torchvision's ResNet-18: 7 x 7 stem with stride 2, max pooling",
       kResNetCitation, 224,
       [](const ImageNetworkOptions& options) {
         return make_resnet(options, {.torchvision = true});
       }},
      {"resnet50",
       "torchvision's ResNet-50 v1.5: bottlenecks with the stride on the 3 x 3 convolution",
       kResNetCitation, 224,
       [](const ImageNetworkOptions& options) {
         return make_resnet(options,
                            {.blocks = {3, 4, 6, 3}, .bottleneck = true, .torchvision = true});
       }},

      {"deit3_small_patch16_224", "DeiT-3 Small: 384 wide, 12 blocks, 6 heads", kDeit3Citation, 224,
       make_deit3<384, 12, 6>},
      {"deit3_base_patch16_224", "DeiT-3 Base: 768 wide, 12 blocks, 12 heads; SED's trunk",
       kDeit3Citation, 224, make_deit3<768, 12, 12>},
      {"deit3_large_patch16_224", "DeiT-3 Large: 1024 wide, 24 blocks, 16 heads", kDeit3Citation,
       224, make_deit3<1024, 24, 16>},
  };
  return registry;
}

std::vector<std::string> image_network_names() {
  std::vector<std::string> names;
  for (const auto& spec : image_network_registry()) {
    names.push_back(spec.name);
    names.push_back(spec.name + std::string(kMultiheadSuffix));
  }
  return names;
}

std::unique_ptr<ImageNetwork> make_image_network(const std::string& name,
                                                 const ImageNetworkOptions& options) {
  DISSENT_CHECK(options.classes >= 0 && options.channels >= 1 && options.heads >= 1, kUsage,
                "model '{}': expected classes >= 0, channels >= 1, heads >= 1, found {}, {}, {}",
                name, options.classes, options.channels, options.heads);

  // A multihead variant is the network without classifier, with heads on its features.
  const bool multihead = is_multihead(name);
  const auto base = multihead ? name.substr(0, name.size() - kMultiheadSuffix.size()) : name;

  std::vector<std::string> names;
  for (const auto& spec : image_network_registry()) {
    names.push_back(spec.name);
    if (spec.name != base) continue;
    if (!multihead) return spec.make(options);
    auto trunk = options;
    trunk.classes = 0;
    return std::make_unique<Multihead>(spec.make(trunk), options.heads, options.classes);
  }

  const auto near = nearest(base, names);
  DISSENT_FAIL(kUsage,
               "model on images: expected one of {}, each with '{}' for heads on one trunk, found "
               "'{}'{}",
               fmt::join(names, ", "), kMultiheadSuffix, name,
               near ? fmt::format("; did you mean '{}'?", *near) : "");
}

std::string image_size_misfit(const std::string& name, int64_t edge) {
  return make_image_network(name, {.classes = 1, .channels = 3, .image_size = edge, .heads = 1})
      ->size_misfit(edge, edge);
}

}  // namespace dissent
