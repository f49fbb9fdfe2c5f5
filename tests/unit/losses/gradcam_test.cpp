#include <dissent/losses/gradcam.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "expect_error.hpp"
#include "tensors.hpp"
#include "unit/losses/peak_memory.hpp"
#include "unit/losses/saliency_network.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

constexpr auto kTargets = {GradCamTarget::kGtLogit, GradCamTarget::kGtProb,
                           GradCamTarget::kAltLogits, GradCamTarget::kAltProbs,
                           GradCamTarget::kSmallLogits};
constexpr auto kSimilarities = {Similarity::kDot, Similarity::kCosine, Similarity::kExpCosine,
                                Similarity::kIou, Similarity::kLogDet};
constexpr auto kActivations = {MapActivation::kRelu, MapActivation::kAbs, MapActivation::kNone};

GradCamOptions with(GradCamTarget target, MapActivation activation = MapActivation::kRelu,
                    Similarity similarity = Similarity::kCosine, int64_t crop = 1) {
  return {.target = target, .activation = activation, .crop = crop, .similarity = similarity};
}

using dissent::testing::largest;

// Largest difference between autograd's slope along four directions of length 1 and central
// differences, relative to the largest derivative (some hundred here). A step of 1e-6, so as not to
// cross a kink of the activation.
double slope_error(const Scalar& f, const at::Tensor& point) {
  const auto gradient = gradient_of(f, point), x = point.detach();
  double worst = 0;
  for (const uint64_t seed : {21, 22, 23, 24}) {
    auto direction = made_logits(1, 1, x.numel(), 1, seed).view_as(x);
    direction = direction / direction.norm();
    const double difference =
        (f(x + 1e-6 * direction) - f(x - 1e-6 * direction)).item<double>() / 2e-6;
    worst = std::max(worst, std::abs(difference - (gradient * direction).sum().item<double>()));
  }
  return worst / std::max(1.0, largest(gradient));
}

// Logits that are linear in the mean of each map: d z_c / d f_k = w_ck / (H W) everywhere.
struct LinearHead {
  at::Tensor f = made_logits(4, 3, 20, 1, 5).view({2, 2, 3, 4, 5}).set_requires_grad(true);
  at::Tensor w = made_logits(2, 5, 3, 1, 6);
  at::Tensor labels = at::tensor({4, 1}, at::kLong);
  at::Tensor logits = at::matmul(f.mean(at::IntArrayRef{3, 4}), w.transpose(1, 2));

  // Map of weights a [M, B, K] on the output's derivative with respect to the logits.
  at::Tensor expected(const at::Tensor& slope) const {
    return (at::matmul(slope, w).unsqueeze(-1).unsqueeze(-1) * f.detach()).sum(2).div(20);
  }
  at::Tensor maps(GradCamTarget target, const at::Tensor& noise = {}) const {
    return activation_maps(logits, labels, MemberInputs::stacked(f),
                           with(target, MapActivation::kNone), noise)
        .detach();
  }
};

}  // namespace

TEST(GradCam, MapsOfALinearHeadInClosedForm) {
  const LinearHead head;
  const auto p = at::softmax(head.logits.detach(), -1),
             hot = at::one_hot(head.labels, 5).to(at::kDouble).expand_as(p);
  const auto of_prob = (p * hot).sum(-1, true) * (hot - p);
  EXPECT_LT(largest(head.maps(GradCamTarget::kGtLogit) - head.expected(hot)), 1e-15);
  EXPECT_LT(largest(head.maps(GradCamTarget::kGtProb) - head.expected(of_prob)), 1e-15);
  EXPECT_LT(largest(head.maps(GradCamTarget::kAltLogits) - head.expected((1 - hot) / 4)), 1e-15);
  EXPECT_LT(largest(head.maps(GradCamTarget::kAltProbs) - head.expected(-of_prob / 4)), 1e-15);
}

TEST(GradCam, SmallLogitsAreTheLowerHalfOfTheNoisyOnes) {
  const LinearHead head;
  const auto lower_two = [&](const at::Tensor& logits) {
    return logits.argsort(int64_t{-1}).argsort(int64_t{-1}).lt(2).to(at::kDouble) / 2;
  };  // ranks below floor(5 / 2)
  const auto quiet = at::zeros_like(head.logits), loud = made_logits(2, 2, 5, 1e5, 9);
  EXPECT_LT(largest(head.maps(GradCamTarget::kSmallLogits, quiet) -
                    head.expected(lower_two(head.logits.detach()))),
            1e-15);
  EXPECT_LT(largest(head.maps(GradCamTarget::kSmallLogits, loud) -
                    head.expected(lower_two(head.logits.detach() + 1e-4 * loud))),
            1e-15);
  EXPECT_GT(largest(head.maps(GradCamTarget::kSmallLogits, loud) -
                    head.maps(GradCamTarget::kSmallLogits, quiet)),
            1e-3);
}

TEST(GradCam, EqualSmallLogitsGoByClassNumber) {
  const auto f = at::ones({2, 1, 1, 3, 3}, at::kDouble).set_requires_grad(true);
  const auto w = at::tensor({1.0, 1.0, 1.0, 1.0}, at::kDouble);
  const auto logits = f.mean(at::IntArrayRef{2, 3, 4}).unsqueeze(-1) * w;
  const auto maps = activation_maps(logits, {}, MemberInputs::stacked(f),
                                    with(GradCamTarget::kSmallLogits), at::zeros_like(logits));
  EXPECT_LT(largest(maps - 1.0 / 9), 1e-16);  // two of four, each with weight 1 / 9
}

TEST(GradCam, StandardisesTheCroppedMap) {
  const SaliencyNetwork net(3, 2, 4);
  const auto stack = MemberInputs::stacked(net.f);
  const auto logits = net.logits(net.f);
  const auto whole =
      activation_maps(logits, net.labels, stack, with(GradCamTarget::kGtLogit)).detach();
  EXPECT_GE(whole.min().item<double>(), 0);
  for (const int64_t crop : {0, 1, 2}) {
    const auto maps = saliency_maps(logits, net.labels, stack,
                                    with(GradCamTarget::kGtLogit, MapActivation::kRelu,
                                         Similarity::kCosine, crop))
                          .detach();
    const auto inner = whole.narrow(2, crop, 5 - 2 * crop).narrow(3, crop, 6 - 2 * crop);
    const auto mean = inner.mean(at::IntArrayRef{2, 3}, true);
    const auto deviation = (inner - mean).square().mean(at::IntArrayRef{2, 3}, true).sqrt();
    EXPECT_EQ(maps.sizes(), inner.sizes());
    EXPECT_LT(largest(maps - (inner - mean) / (deviation + 1e-6)), 1e-9)
        << crop;  // deviations down to about 1e-6 amplify roundings of 1e-16
  }
}

TEST(GradCam, StackedEachAndSharedAreOneLoss) {
  const SaliencyNetwork net(3, 2, 4);
  const auto options = with(GradCamTarget::kGtProb);
  const auto stacked =
      gradcam(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), options);
  const auto reference = torch::autograd::grad({stacked}, {net.f, net.w1, net.w2});
  std::vector<at::Tensor> each;
  for (const auto& part : net.f.detach().unbind(0))
    each.push_back(part.clone().set_requires_grad(true));
  const auto one_by_one = gradcam(net.logits(each), net.labels, MemberInputs::each(each), options);
  auto leaves = each;
  leaves.push_back(net.w1);
  const auto gradients = torch::autograd::grad({one_by_one}, leaves);
  EXPECT_EQ(one_by_one.item<double>(), stacked.item<double>());
  for (int64_t m = 0; m < 3; ++m) EXPECT_TRUE(at::equal(gradients[m], reference[0][m])) << m;
  EXPECT_TRUE(at::equal(gradients[3], reference[1]));
}

TEST(GradCam, ASharedMapKeepsTheMembersDerivativesApart) {
  const SaliencyNetwork net(3, 2, 4);
  const auto one = net.f.detach()[0].clone().set_requires_grad(true);
  const auto stack =
      net.f.detach()[0].expand({3, -1, -1, -1, -1}).contiguous().set_requires_grad(true);
  const auto options = with(GradCamTarget::kGtLogit);
  const auto expected =
      gradcam(net.logits(stack), net.labels, MemberInputs::stacked(stack), options);
  const auto of_stack = torch::autograd::grad({expected}, {stack})[0].sum(0);
  const std::vector<at::Tensor> thrice = {one, one, one},
                                views = {one.view_as(one), one.view_as(one), one.view_as(one)};
  for (const auto& [inputs, logits] : {std::pair{MemberInputs::shared(one), net.logits(thrice)},
                                       {MemberInputs::each(thrice), net.logits(thrice)},
                                       {MemberInputs::each(views), net.logits(views)}}) {
    const auto value = gradcam(logits, net.labels, inputs, options);
    EXPECT_NEAR(value.item<double>(), expected.item<double>(), 1e-14);
    EXPECT_LT(largest(torch::autograd::grad({value}, {one})[0] - of_stack), 1e-13);
  }
}

TEST(GradCam, GradientAgreesWithFiniteDifferences) {
  const SaliencyNetwork net(3, 2, 5);
  const auto noise = logit_noise(net.logits(net.f), 1, 0);
  for (const auto target : kTargets)
    for (const auto similarity : kSimilarities)
      for (const auto activation : kActivations) {
        const auto f = [&](const at::Tensor& point) {
          const auto x = with_graph(point);
          return gradcam(net.logits(x), net.labels, MemberInputs::stacked(x),
                         with(target, activation, similarity), noise);
        };
        EXPECT_LT(slope_error(f, net.f), 1e-7)
            << to_string(target) << " " << to_string(similarity) << " " << to_string(activation);
      }
}

TEST(GradCam, GradientOfTheWeightsPassesThroughTheChannelWeights) {
  auto net = SaliencyNetwork(3, 2, 5);
  const auto w1 = net.w1.detach(), w2 = net.w2.detach();
  const auto loss = [&] {
    return gradcam(net.logits(net.f), net.labels, MemberInputs::stacked(net.f),
                   with(GradCamTarget::kGtProb));
  };
  EXPECT_LT(gradient_error([&](const at::Tensor& w) { return net.w1 = w, net.w2 = w2, loss(); }, w1,
                           1e-6),
            1e-7);
  EXPECT_LT(gradient_error([&](const at::Tensor& w) { return net.w1 = w1, net.w2 = w, loss(); }, w2,
                           1e-6),
            1e-7);
}

TEST(GradCam, OrderOfMembersDoesNotMatter) {
  auto net = SaliencyNetwork(4, 3, 5);
  const auto order = at::tensor({2, 0, 3, 1}, at::kLong);
  auto other = net;
  for (auto* tensor : {&other.f, &other.w1, &other.w2})
    *tensor = tensor->detach().index_select(0, order).set_requires_grad(true);
  for (const auto similarity : kSimilarities) {
    const auto options = with(GradCamTarget::kAltLogits, MapActivation::kAbs, similarity);
    const auto value = [&](const SaliencyNetwork& n) {
      return gradcam(n.logits(n.f), n.labels, MemberInputs::stacked(n.f), options).item<double>();
    };
    EXPECT_NEAR(value(net), value(other), 1e-12) << to_string(similarity);
  }
}

TEST(GradCam, MembersOfOneRankGiveTheirPartOfTheMaps) {
  const SaliencyNetwork net(4, 3, 5);
  const auto options = with(GradCamTarget::kGtLogit);
  const auto all =
      saliency_maps(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), options);
  std::vector<at::Tensor> each;
  for (const auto& part : net.f.detach().unbind(0))
    each.push_back(part.clone().set_requires_grad(true));
  const auto logits = net.logits(each);
  for (int64_t m = 0; m < 4; ++m)
    EXPECT_TRUE(at::equal(saliency_maps(logits.narrow(0, m, 1), net.labels,
                                        MemberInputs::each({each[m]}), options)[0],
                          all[m]))
        << m;
  EXPECT_EQ(
      saliency_similarity(all, Similarity::kCosine).item<double>(),
      gradcam(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), options).item<double>());
}
