// GradCam where maps are constant, graphs absent, arguments wrong, numbers single, sizes real.
#include <dissent/losses/gradcam.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "expect_error.hpp"
#include "tensors.hpp"
#include "unit/losses/peak_memory.hpp"
#include "unit/losses/saliency_network.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

constexpr auto kEdgeSimilarities = {Similarity::kDot, Similarity::kCosine, Similarity::kExpCosine,
                                    Similarity::kIou, Similarity::kLogDet};
constexpr auto kEdgeActivations = {MapActivation::kRelu, MapActivation::kAbs, MapActivation::kNone};

using dissent::testing::largest;

}  // namespace

TEST(GradCamEdge, ConstantMapsStayFinite) {
  const SaliencyNetwork made(3, 3, 4);
  auto f = made.f.detach().clone();
  f[0].zero_();        // a member whose maps are 0
  f[1][1].fill_(0.1);  // a sample whose maps are constant but not 0; 0.1 is no binary number
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    auto net = made.to(dtype);
    net.f = f.to(dtype).set_requires_grad(true);
    for (const auto similarity : kEdgeSimilarities)
      for (const auto activation : kEdgeActivations) {
        const GradCamOptions options{.activation = activation, .similarity = similarity};
        const auto stack = MemberInputs::stacked(net.f);
        const auto maps = saliency_maps(net.logits(net.f), net.labels, stack, options);
        EXPECT_EQ(largest(maps[0]), 0);
        EXPECT_EQ(largest(maps[1][1]), 0);
        const auto value = saliency_similarity(maps, similarity);
        EXPECT_TRUE(std::isfinite(value.item<double>()));
        for (const auto& gradient : torch::autograd::grad({value}, {net.f, net.w1, net.w2}))
          EXPECT_TRUE(gradient.isfinite().all().item<bool>())
              << to_string(similarity) << " " << to_string(activation) << " "
              << c10::toString(dtype);
      }
  }
}

TEST(GradCamEdge, OnePixelIsAConstantMap) {
  const SaliencyNetwork net(2, 2, 3, 3, 3);
  const auto narrow = net.f.detach().narrow(4, 0, 3).contiguous().set_requires_grad(true);
  const auto value =
      gradcam(net.logits(narrow), net.labels, MemberInputs::stacked(narrow), {.crop = 1});
  EXPECT_EQ(value.item<double>(), 0);
  EXPECT_EQ(largest(torch::autograd::grad({value}, {narrow})[0]), 0);
}

TEST(GradCamEdge, OneSampleAndTwoMembers) {
  const SaliencyNetwork net(2, 1, 3);
  const auto maps = saliency_maps(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), {})
                        .detach()
                        .flatten(2);
  const auto expected =
      (maps[0] * maps[1]).sum() / ((maps[0].norm() + 1e-6) * (maps[1].norm() + 1e-6));
  EXPECT_NEAR(
      gradcam(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), {}).item<double>(),
      expected.item<double>(), 1e-14);
}

TEST(GradCamEdge, WithoutAGraphForEvaluation) {
  const SaliencyNetwork net(3, 2, 4);
  const auto logits = net.logits(net.f);
  const auto stack = MemberInputs::stacked(net.f);
  const auto with_graph = gradcam(logits, net.labels, stack, {});
  for (int times = 0; times < 2; ++times) {  // the graph of the logits stays usable
    const at::NoGradGuard no_grad;
    const auto value = gradcam(logits, net.labels, stack, {}, {}, false);
    EXPECT_FALSE(value.requires_grad());
    EXPECT_EQ(value.item<double>(), with_graph.item<double>());
  }
  EXPECT_FALSE(saliency_maps(logits, net.labels, stack, {}, {}, false).requires_grad());
  EXPECT_NO_THROW(with_graph.backward());
}

TEST(GradCamEdge, NoiseIsStandardNormalAndKeyedByMember) {
  const auto like = at::zeros({4, 50, 100}, at::kFloat);
  const auto all = logit_noise(like, 7, 3);
  EXPECT_EQ(all.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(logit_noise(like.narrow(0, 0, 2), 7, 3, 2), all.narrow(0, 2, 2)));
  EXPECT_FALSE(at::equal(logit_noise(like, 7, 4), all));
  EXPECT_FALSE(at::equal(all[0], all[1]));
  // 20,000 draws: five standard errors of mean and variance.
  EXPECT_NEAR(all.mean().item<double>(), 0, 5 / std::sqrt(20000.0));
  EXPECT_NEAR(all.var().item<double>(), 1, 5 * std::sqrt(2 / 20000.0));
  EXPECT_LT(largest(all), 6.5);  // the outermost cell of 2^32
}

TEST(GradCamEdge, WrongArgumentsAreErrors) {
  const SaliencyNetwork net(2, 2, 3);
  const auto logits = net.logits(net.f);
  const auto stack = MemberInputs::stacked(net.f);
  const auto fails = [&](const std::string& text, const at::Tensor& z, const MemberInputs& maps,
                         const GradCamOptions& options, const at::Tensor& noise = {}) {
    expect_error(ErrorKind::kUsage, text, [&] { gradcam(z, net.labels, maps, options, noise); });
  };
  const SaliencyNetwork one(1, 2, 3);
  fails("gradcam: logits: expected [M >= 2", one.logits(one.f), MemberInputs::stacked(one.f), {});
  fails("gradcam: crop: expected 0 .. 2 for maps of 5 x 6, found 3", logits, stack, {.crop = 3});
  fails("gradcam: crop: expected 0 .. 2 for maps of 5 x 6, found -1", logits, stack, {.crop = -1});
  fails("gradcam: noise: expected [2, 2, 3] Double cpu for target small_logits, found nothing",
        logits, stack, {.target = GradCamTarget::kSmallLogits});
  fails("gradcam: feature_maps: expected 2 tensors, found 1", logits, MemberInputs::each({net.f}),
        {});
  fails("gradcam: feature_maps: expected [2, 2, K, H, W] Double cpu, found [2, 3, 5, 6]", logits,
        MemberInputs::stacked(net.f.select(0, 0)), {});
  fails("gradcam: feature_maps: expected [2, K, H, W] Double cpu, found [2, 2, 3, 5, 6]", logits,
        MemberInputs::shared(net.f), {});
  fails("gradcam: feature_maps: expected a tensor that requires gradients", logits,
        MemberInputs::stacked(net.f.detach()), {});
  fails(
      "gradcam: feature_maps: expected a tensor that the logits depend on, found one that they do "
      "not",
      logits, MemberInputs::stacked(net.f.clone()), {});
  fails("gradcam: logits: expected logits with their graph", logits.detach(), stack, {});
  fails("expected C >= 2 for target alt_probs", logits.narrow(2, 0, 1), stack,
        {.target = GradCamTarget::kAltProbs});
  expect_error(ErrorKind::kUsage, "gradcam: labels: expected class numbers 0 .. 2, found 1 .. 3",
               [&] { gradcam(logits, at::tensor({1, 3}, at::kLong), stack, {}); });
  expect_error(ErrorKind::kUsage, "saliency_similarity: maps: expected [M, B, h, w]",
               [&] { saliency_similarity(logits, Similarity::kDot); });
}

TEST(GradCamEdge, NamesGoBothWays) {
  for (const auto& name : grad_cam_target_names())
    EXPECT_EQ(to_string(grad_cam_target(name)), name);
  for (const auto& name : map_activation_names()) EXPECT_EQ(to_string(map_activation(name)), name);
  expect_error(ErrorKind::kUsage,
               "target of gradcam: expected one of gt_logit, gt_prob, alt_logits, "
               "alt_probs, small_logits",
               [] { grad_cam_target("logit"); });
  expect_error(ErrorKind::kUsage,
               "activation of maps: expected one of relu, abs, none, found 'gelu'",
               [] { map_activation("gelu"); });
}

TEST(GradCamEdge, SinglePrecisionStaysNearDouble) {
  const auto single = SaliencyNetwork(5, 32, 10, 16, 8).to(at::kFloat);
  const auto exact = single.to(at::kDouble);
  for (const auto similarity : kEdgeSimilarities) {
    const GradCamOptions options{.similarity = similarity};
    const auto value =
        gradcam(single.logits(single.f), single.labels, MemberInputs::stacked(single.f), options);
    const auto wanted =
        gradcam(exact.logits(exact.f), exact.labels, MemberInputs::stacked(exact.f), options);
    EXPECT_EQ(value.scalar_type(), at::kFloat);
    const double scale =
        similarity == Similarity::kDot
            ? 42
            : std::max(1.0, std::abs(wanted.item<double>()));  // |n|^2 = h w = 6 x 7
    EXPECT_NEAR(value.item<double>(), wanted.item<double>(), 5e-6 * scale)
        << to_string(similarity);  // some 50 roundings of 6e-8
    const auto gradient = torch::autograd::grad({value}, {single.f})[0],
               wanted_gradient = torch::autograd::grad({wanted}, {exact.f})[0];
    EXPECT_LT(largest(gradient - wanted_gradient), 2e-4 * largest(wanted_gradient))
        << to_string(similarity);
  }
}

TEST(GradCamEdge, MemoryGrowsWithTheFeatureMapsOnly) {
  // Value and gradient, the network's own graph included: a multiple of the feature maps' size.
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const auto net = SaliencyNetwork(members, rows, 10, 64, 7).to(at::kFloat);
    const auto size = static_cast<int64_t>(net.f.nbytes());
    for (const auto similarity : {Similarity::kCosine, Similarity::kLogDet}) {
      PeakMemory memory;
      const auto value = gradcam(net.logits(net.f), net.labels, MemberInputs::stacked(net.f),
                                 {.similarity = similarity});
      const auto gradients = torch::autograd::grad({value}, {net.f, net.w1, net.w2});
      EXPECT_TRUE(gradients[0].isfinite().all().item<bool>());
      EXPECT_LT(2 * memory.peak(), 9 * size)
          << members << " members, "
          << static_cast<double>(memory.peak()) / static_cast<double>(size) << " sizes";
    }
  }
}
