#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "core/random.hpp"
#include "expect_error.hpp"
#include "models/block_head.hpp"
#include "models/networks/multihead.hpp"
#include "models/networks/registry.hpp"
#include "models/networks/resnet.hpp"
#include "models/networks/vision_transformer.hpp"

using namespace dissent;
using dissent::testing::expect_error;

namespace {

at::Tensor draws(at::IntArrayRef shape, uint64_t key) {
  auto values = at::empty(shape, at::kDouble);
  fill_uniform(values, -1, 1, Random(7, Purpose::kNoise, key));
  return values;
}

struct Miniature {
  std::string name;
  std::shared_ptr<const ImageNetwork> network;
  std::vector<int64_t> images;
};

std::vector<Miniature> miniatures() {
  const ResNetOptions small{.classes = 3, .blocks = {1, 2, 1, 1}, .width = 2};
  auto bottleneck = small, trunk = small;
  bottleneck.bottleneck = bottleneck.torchvision = true;
  trunk.classes = 0;
  return {{"lenet", make_image_network("lenet", {.classes = 4}), {2, 3, 28, 28}},
          {"resnet", std::make_shared<ResNet>(small), {3, 3, 16, 16}},
          {"bottleneck", std::make_shared<ResNet>(bottleneck), {4, 3, 64, 64}},
          {"multihead",
           std::make_shared<Multihead>(std::make_unique<ResNet>(trunk), 3, 4),
           {2, 3, 16, 16}},
          {"transformer",
           std::make_shared<VisionTransformer>(VisionTransformerOptions{.classes = 3,
                                                                        .image_size = 8,
                                                                        .patch_size = 4,
                                                                        .dim = 6,
                                                                        .depth = 2,
                                                                        .attention_heads = 2,
                                                                        .mlp_ratio = 2}),
           {2, 3, 8, 8}}};
}

// Initial values, moved so that no gradient is 0 by design (gammas, biases) and, by `spread`, so
// that layers do not all but vanish.
at::Tensor values_of(const ImageNetwork& network, double spread = 0.1) {
  auto flat = at::empty({network.layout().size()}, at::kDouble);
  network.initialise(flat, 3, 0);
  return flat.add_(draws({flat.size(0)}, 1), spread);
}

at::Tensor buffers_of(const ImageNetwork& network) {
  auto flat = at::empty({network.buffer_layout().size()}, at::kDouble);
  network.initialise_buffers(flat);
  return flat.add_(draws({flat.size(0)}, 2).abs(), 0.2);
}

ImageOutput forward(const ImageNetwork& network, const at::Tensor& flat, const at::Tensor& buffers,
                    const at::Tensor& x, bool training = false) {
  return network.forward(unpack(flat, network.layout()), buffers, x, training);
}

using Function = std::function<at::Tensor(const at::Tensor& flat, const at::Tensor& x)>;

// Largest difference between autograd's and central differences along four random directions of
// (parameters, images), relative to the derivative.
double derivative_error(const Function& f, const at::Tensor& flat, const at::Tensor& x) {
  const auto p = flat.clone().set_requires_grad(true), images = x.clone().set_requires_grad(true);
  const auto gradients = torch::autograd::grad({f(p, images)}, {p, images});
  const double h = 1e-6;
  double worst = 0;
  for (uint64_t d = 10; d < 14; ++d) {
    const auto dp = draws(flat.sizes(), d), dx = draws(x.sizes(), d + 100);
    const double exact = ((gradients[0] * dp).sum() + (gradients[1] * dx).sum()).item<double>();
    const double above = f(flat + h * dp, x + h * dx).item<double>(),
                 below = f(flat - h * dp, x - h * dx).item<double>();
    worst = std::max(worst,
                     std::abs((above - below) / (2 * h) - exact) / std::max(1.0, std::abs(exact)));
  }
  return worst;
}

void PrintTo(const Miniature& miniature, std::ostream* out) { *out << miniature.name; }

class EveryNetwork : public ::testing::TestWithParam<Miniature> {};

}  // namespace

TEST_P(EveryNetwork, ShapesFollowTheLayout) {
  const auto& [name, network, shape] = GetParam();
  const auto out = forward(*network, values_of(*network), buffers_of(*network), draws(shape, 3));
  const int64_t rows = shape[0];
  const auto logits = network->heads() > 0
                          ? std::vector<int64_t>{network->heads(), rows, network->classes()}
                          : std::vector<int64_t>{rows, network->classes()};
  EXPECT_EQ(out.logits.sizes(), at::IntArrayRef(logits));
  EXPECT_EQ(out.features.sizes(), (at::IntArrayRef{rows, network->feature_dim()}));
  ASSERT_EQ(out.maps.dim(), 4);
  EXPECT_EQ(out.maps.size(0), rows);
}

// f64, step 1e-6: errors of about step^2 and 2^-52 / step, times the derivatives' size.
TEST_P(EveryNetwork, GradientIsTheDerivativeInBothModes) {
  const auto& [name, network, shape] = GetParam();
  const auto flat = values_of(*network), buffers = buffers_of(*network), x = draws(shape, 3);
  for (const bool training : {false, true}) {
    const auto f = [&](const at::Tensor& p, const at::Tensor& images) {
      const auto out = forward(*network, p, buffers.clone(), images, training);
      return (out.logits * draws(out.logits.sizes(), 5)).sum() +
             (out.features * draws(out.features.sizes(), 6)).sum();
    };
    EXPECT_LT(derivative_error(f, flat, x), 1e-6)
        << name << (training ? ", training" : ", evaluation");
  }
}

// What saliency losses need: the derivative of a function of d logits / d maps.
TEST_P(EveryNetwork, SecondDerivativeThroughTheMaps) {
  const auto& [name, network, shape] = GetParam();
  const auto flat = values_of(*network), buffers = buffers_of(*network), x = draws(shape, 3);
  for (const bool training : {false, true}) {
    const auto f = [&](const at::Tensor& p, const at::Tensor& images) {
      const auto own =
          p.requires_grad()
              ? p
              : p.clone().set_requires_grad(true);  // differences need the inner gradient too
      const auto out = forward(*network, own, buffers.clone(), images, training);
      const auto inner = torch::autograd::grad({(out.logits * draws(out.logits.sizes(), 5)).sum()},
                                               {out.maps}, {}, true, true)[0];
      EXPECT_GT(inner.abs().max().item<double>(), 1e-6) << name;
      return (inner * inner * draws(inner.sizes(), 6)).sum() * 100 + (inner * out.maps).sum();
    };
    EXPECT_LT(derivative_error(f, flat, x), 1e-5)
        << name << (training ? ", training" : ", evaluation");
  }
}

TEST_P(EveryNetwork, InitialValuesFollowSeedAndMember) {
  const auto& network = *GetParam().network;
  auto one = at::empty({network.layout().size()}, at::kFloat), two = at::empty_like(one);
  network.initialise(one, 1, 0);
  network.initialise(two, 1, 0);
  EXPECT_TRUE(at::equal(one, two));
  for (const auto& [seed, member] : {std::pair{1, 1}, {2, 0}}) {
    network.initialise(two, seed, member);
    EXPECT_FALSE(at::equal(one, two));
  }
}

TEST_P(EveryNetwork, EvaluationLeavesTheBuffersAndAgreesWithoutGradients) {
  const auto& [name, network, shape] = GetParam();
  const auto flat = values_of(*network), buffers = buffers_of(*network), before = buffers.clone(),
             x = draws(shape, 3);
  const auto with = forward(*network, flat, buffers, x);
  at::NoGradGuard no_grad;
  const auto without = forward(*network, flat, buffers, x);
  EXPECT_TRUE(at::equal(buffers, before));
  // The fused attention adds in another order: 100 ulp of values near 1.
  EXPECT_LT((with.logits - without.logits).abs().max().item<double>(), 2e-14);
  EXPECT_TRUE(
      at::equal(network->features_at("features", unpack(flat, network->layout()), buffers, x),
                without.features));
}

INSTANTIATE_TEST_SUITE_P(Networks, EveryNetwork, ::testing::ValuesIn(miniatures()),
                         [](const auto& info) { return info.param.name; });

TEST(ResNet, TrainingNormalisesByTheBatchAndMovesTheRunningStatistics) {
  const ResNet network({.classes = 3, .blocks = {1, 1, 1, 1}, .width = 2});
  const auto flat = values_of(network), x = draws({3, 3, 8, 8}, 3);
  auto buffers = at::empty({network.buffer_layout().size()}, at::kDouble);
  network.initialise_buffers(buffers);
  forward(network, flat, buffers, x, true);
  const auto stem = at::conv2d(x, parameter(flat, *network.layout().find("conv1.weight")), {},
                               {1, 1}, at::IntArrayRef{1, 1})
                        .transpose(0, 1)
                        .flatten(1);
  const auto buffer = [&](const char* name) {
    return parameter(buffers, *network.buffer_layout().find(name));
  };
  EXPECT_TRUE(at::allclose(buffer("bn1.running_mean"), 0.1 * stem.mean(1), 1e-12, 1e-14));
  EXPECT_TRUE(at::allclose(buffer("bn1.running_var"), 0.9 + 0.1 * stem.var(1, /*unbiased=*/true),
                           1e-12, 1e-14));
  for (const auto& entry : network.buffer_layout().entries())
    if (entry.name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(parameter(buffers, entry).item<double>(), 1) << entry.name;
    }
  const auto first = forward(network, flat, buffers, x.narrow(0, 0, 1)),
             all = forward(network, flat, buffers, x);
  EXPECT_TRUE(at::allclose(first.logits[0], all.logits[0], 1e-12, 1e-14))
      << "evaluation mode does not mix rows";
}

// The diversity pass of SDDE is in evaluation mode; its graph has to survive a training pass that
// follows.
TEST(ResNet, GraphsSurviveATrainingPassThatFollows) {
  const ResNet network({.classes = 3, .blocks = {1, 1, 1, 1}, .width = 2});
  const auto x = draws({3, 3, 8, 8}, 3), flat = values_of(network).set_requires_grad(true);
  const auto buffers = buffers_of(network);
  const auto expected =
      torch::autograd::grad({forward(network, flat, buffers, x).logits.sum()}, {flat})[0];
  const auto sum = forward(network, flat, buffers, x).logits.sum();
  forward(network, flat, buffers, x * 3, true);
  EXPECT_TRUE(at::equal(torch::autograd::grad({sum}, {flat})[0], expected));
  const auto trained = torch::autograd::grad(
      {forward(network, flat, buffers.clone(), x, true).logits.sum()}, {flat})[0];
  const auto first = forward(network, flat, buffers, x, true).logits.sum();
  forward(network, flat, buffers, x * 3, true);
  EXPECT_TRUE(at::equal(torch::autograd::grad({first}, {flat})[0], trained))
      << "nor does one training pass disturb another's";
}

TEST(Multihead, HeadsReadTheTrunksFeaturesAndNothingOfEachOther) {
  ResNetOptions trunk{.classes = 0, .blocks = {1, 1, 1, 1}, .width = 2};
  const Multihead network(std::make_unique<ResNet>(trunk), 2, 4);
  auto flat = values_of(network);
  const auto buffers = buffers_of(network), x = draws({3, 3, 8, 8}, 3);
  const auto before = forward(network, flat, buffers, x);
  const auto p = [&](const char* name) { return parameter(flat, *network.layout().find(name)); };
  const auto hidden =
      at::relu(at::linear(before.features, p("heads.1.0.weight"), p("heads.1.0.bias")));
  EXPECT_TRUE(at::allclose(before.logits[1],
                           at::linear(hidden, p("heads.1.2.weight"), p("heads.1.2.bias")), 1e-12,
                           1e-14));
  p("heads.1.2.bias").add_(1);
  const auto after = forward(network, flat, buffers, x);
  EXPECT_TRUE(at::equal(before.logits[0], after.logits[0]));
  EXPECT_TRUE(at::allclose(before.logits[1] + 1, after.logits[1]));
  trunk.classes = 3;
  expect_error(ErrorKind::kUsage, "a trunk without classifier",
               [&] { Multihead(std::make_unique<ResNet>(trunk), 2, 4); });
}

TEST(VisionTransformer, BlockHeadGoesOnFromTheCachedClassToken) {
  const VisionTransformer network({.classes = 5,
                                   .image_size = 8,
                                   .patch_size = 4,
                                   .dim = 6,
                                   .depth = 3,
                                   .attention_heads = 3,
                                   .mlp_ratio = 4});
  const auto flat = values_of(network), x = draws({2, 3, 8, 8}, 3);
  const auto parameters = unpack(flat, network.layout());
  const auto cls = network.features_at("cls_after_last_attention", parameters, {}, x);
  const BlockHead head(6, 24, 5);
  auto member = at::zeros({head.layout().size()}, at::kDouble);
  for (const auto& entry : head.layout().entries()) {
    const auto* own = network.layout().find(entry.name);
    if (!own) own = network.layout().find("blocks.2." + entry.name);
    ASSERT_NE(own, nullptr) << entry.name;
    parameter(member, entry).copy_(parameter(flat, *own));
  }
  EXPECT_TRUE(at::allclose(head.forward(member, cls, nullptr),
                           network.forward(parameters, {}, x, false).logits, 1e-12, 1e-14));
  expect_error(ErrorKind::kUsage, "cls_after_last_attention",
               [&] { network.features_at("no_such_cut", parameters, {}, x); });
}

TEST(ImageNetworks, HaveTheReferencesParameterCounts) {
  const auto count = [](const char* name, int64_t classes) {
    return make_image_network(name, {.classes = classes})->layout().parameter_count();
  };
  EXPECT_EQ(count("resnet18_224x224", 1000), 11689512);  // torchvision's documentation, as the next
  EXPECT_EQ(count("resnet50", 1000), 25557032);
  EXPECT_EQ(count("deit3_base_patch16_224", 1000), 86585320);
  EXPECT_EQ(count("resnet18_32x32", 10), 11173962);
}

TEST(ImageNetworks, InitialValuesAreTheReferencesDistributions) {
  const auto spread = [](const char* model, const char* name) {
    const auto network = make_image_network(model, {});
    auto flat = at::empty({network->layout().size()}, at::kFloat);
    network->initialise(flat, 1, 0);
    const auto values = parameter(flat, *network->layout().find(name));
    return std::pair{values.std().item<double>(), values.abs().max().item<double>()};
  };
  const auto [torchvision, most] =
      spread("resnet18_224x224", "layer1.0.conv1.weight");  // 36,864 draws: deviation 0.4 % of it
  EXPECT_NEAR(torchvision, std::sqrt(2.0 / 576), 0.02 * torchvision);
  EXPECT_GT(most, 3 * torchvision);
  const auto [openood, bound] = spread("resnet18_32x32", "layer1.0.conv1.weight");
  EXPECT_NEAR(openood, 1 / std::sqrt(3.0 * 576), 0.02 * openood);
  EXPECT_NEAR(bound, 1 / std::sqrt(576.0), 1e-4);
  EXPECT_NEAR(spread("deit3_small_patch16_224", "pos_embed").first, 0.02, 0.0004);
  EXPECT_EQ(spread("deit3_small_patch16_224", "blocks.3.gamma_2").second, 1e-4f);
}

TEST(ImageNetworks, SizesThatFitAreKnownWithoutWeightsOrImages) {
  EXPECT_EQ(image_size_misfit("lenet", 28), "");
  EXPECT_EQ(image_size_misfit("lenet", 32), "28 .. 31 pixels");
  EXPECT_EQ(image_size_misfit("lenet_multihead", 224), "28 .. 31 pixels");
  EXPECT_EQ(image_size_misfit("resnet18_32x32", 57), "");
  EXPECT_EQ(image_size_misfit("resnet18_64x64", 32), "57 .. 120 pixels");
  EXPECT_EQ(image_size_misfit("deit3_small_patch16_224", 32), "");
  // What it says is what a pass finds.
  const ResNet pooled({.classes = 3, .blocks = {1, 1, 1, 1}, .pool = 8, .width = 2});
  const auto values = values_of(pooled), buffers = buffers_of(pooled);
  for (const int64_t edge : {57, 120})
    EXPECT_EQ(
        forward(pooled, values, buffers, at::zeros({1, 3, edge, edge}, at::kDouble)).logits.numel(),
        3);
  for (const int64_t edge : {56, 121})
    expect_error(ErrorKind::kUsage, "expected images with edges of 57 .. 120 pixels", [&] {
      forward(pooled, values, buffers, at::zeros({1, 3, edge, edge}, at::kDouble));
    });
}

TEST(ImageNetworks, WrongArgumentsAreNamed) {
  expect_error(ErrorKind::kUsage, "did you mean 'resnet50'",
               [] { make_image_network("resnet51", {}); });
  expect_error(ErrorKind::kUsage, "expected classes >= 0",
               [] { make_image_network("lenet", {.classes = -1}); });
  const auto lenet = make_image_network("lenet", {.channels = 1});
  const auto flat = values_of(*lenet);
  const auto run = [&](at::IntArrayRef shape) {
    forward(*lenet, flat, {}, at::zeros(shape, at::kDouble));
  };
  expect_error(ErrorKind::kUsage, "x: expected [B >= 1, 1, H, W], found [2, 3, 28, 28]",
               [&] { run({2, 3, 28, 28}); });
  expect_error(ErrorKind::kUsage,
               "x: expected images with edges of 28 .. 31 pixels, found [2, 1, 32, 32]",
               [&] { run({2, 1, 32, 32}); });
  expect_error(ErrorKind::kUsage, "unpack: flat: expected",
               [&] { unpack(flat.narrow(0, 1, 5), lenet->layout()); });
  expect_error(ErrorKind::kUsage, "parameters: expected 10 tensors, found 0",
               [&] { lenet->forward({}, {}, at::zeros({1, 1, 28, 28}), false); });
  const ResNet pooled({.classes = 3, .blocks = {1, 1, 1, 1}, .pool = 8, .width = 2});
  const auto values = values_of(pooled), buffers = buffers_of(pooled);
  EXPECT_EQ(forward(pooled, values, buffers, at::zeros({1, 3, 64, 64}, at::kDouble)).logits.numel(),
            3);
  expect_error(ErrorKind::kUsage, "expected images with edges of 57 .. 120 pixels, found",
               [&] { forward(pooled, values, buffers, at::zeros({1, 3, 128, 128}, at::kDouble)); });
  expect_error(ErrorKind::kUsage, "buffers: expected",
               [&] { forward(pooled, values, {}, at::zeros({1, 3, 64, 64}, at::kDouble)); });
  const ResNet narrow({.classes = 3, .blocks = {1, 1, 1, 1}, .width = 2});
  expect_error(ErrorKind::kUsage, "more than one value per channel", [&] {
    forward(narrow, values_of(narrow), buffers_of(narrow), at::zeros({1, 3, 8, 8}, at::kDouble),
            true);
  });
}
