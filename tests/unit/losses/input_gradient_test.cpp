#include <dissent/losses/input_gradient.hpp>
#include <dissent/losses/similarity.hpp>

#include <cmath>
#include <cstdint>
#include <utility>

#include "expect_error.hpp"
#include "tensors.hpp"
#include "unit/losses/peak_memory.hpp"
#include "unit/losses/saliency_network.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

constexpr auto kModes = {InputGradientMode::kMax, InputGradientMode::kMin, InputGradientMode::kGt,
                         InputGradientMode::kSum};
using dissent::testing::largest;

}  // namespace

TEST(InputGradient, OfALinearNetworkAreItsWeights) {
  const auto x = made_logits(2, 3, 4).set_requires_grad(true);
  const auto w = made_logits(2, 5, 4, 1, 9);  // logits = W x: the gradient of a logit is its row
  const auto logits = at::matmul(x, w.transpose(1, 2));
  const auto labels = at::tensor({2, 0, 4}, at::kLong);
  const auto gradients = [&](InputGradientMode mode) {
    return input_gradients(logits, labels, MemberInputs::stacked(x), {mode});
  };
  for (int64_t m = 0; m < 2; ++m) {
    EXPECT_LT(largest(gradients(InputGradientMode::kGt)[m] - w[m].index_select(0, labels)), 1e-15);
    EXPECT_LT(
        largest(gradients(InputGradientMode::kMax)[m] - w[m].index_select(0, logits[m].argmax(-1))),
        1e-15);
    EXPECT_LT(
        largest(gradients(InputGradientMode::kMin)[m] - w[m].index_select(0, logits[m].argmin(-1))),
        1e-15);
    EXPECT_LT(largest(gradients(InputGradientMode::kSum)[m] - w[m].sum(0)), 1e-15);
  }
  EXPECT_NEAR(input_gradient(logits, labels, MemberInputs::stacked(x), {InputGradientMode::kSum})
                  .item<double>(),
              at::cosine_similarity(w[0].sum(0), w[1].sum(0), 0).item<double>(),
              1e-5);  // norms + 1e-6
}

TEST(InputGradient, AgreesWithFiniteDifferences) {
  const SaliencyNetwork net(3, 2, 5, 2, 3);
  for (const auto mode : kModes) {
    const auto f = [&](const at::Tensor& point) {
      const auto x = with_graph(point);
      return input_gradient(net.logits(x), net.labels, MemberInputs::stacked(x), {mode});
    };
    EXPECT_LT(gradient_error(f, net.f.detach()), kGradientTolerance) << to_string(mode);
  }
}

TEST(InputGradient, SharedImagesAreAStackOfEqualOnes) {
  const SaliencyNetwork net(3, 2, 4);
  const auto one = net.f.detach()[0].clone().set_requires_grad(true);
  const auto stack =
      net.f.detach()[0].expand({3, -1, -1, -1, -1}).contiguous().set_requires_grad(true);
  const auto expected =
      input_gradient(net.logits(stack), net.labels, MemberInputs::stacked(stack), {});
  const auto reference = torch::autograd::grad({expected}, {stack, net.w1});
  const std::vector<at::Tensor> thrice = {one, one, one},
                                views = {one.view_as(one), one.view_as(one), one.view_as(one)};
  for (const auto& [inputs, logits] : {std::pair{MemberInputs::shared(one), net.logits(thrice)},
                                       {MemberInputs::each(views), net.logits(views)}}) {
    const auto value = input_gradient(logits, net.labels, inputs, {});
    const auto gradients = torch::autograd::grad({value}, {one, net.w1});
    EXPECT_NEAR(value.item<double>(), expected.item<double>(), 1e-14);
    EXPECT_LT(largest(gradients[0] - reference[0].sum(0)), 1e-14);
    EXPECT_LT(largest(gradients[1] - reference[1]), 1e-14);
  }
}

TEST(InputGradient, OrderOfMembersDoesNotMatter) {
  const SaliencyNetwork net(4, 3, 5);
  auto other = net;
  for (auto* tensor : {&other.f, &other.w1, &other.w2})
    *tensor = tensor->detach().flip(0).set_requires_grad(true);
  const auto value = [](const SaliencyNetwork& n) {
    return input_gradient(n.logits(n.f), n.labels, MemberInputs::stacked(n.f), {}).item<double>();
  };
  EXPECT_NEAR(value(net), value(other), 1e-14);
}

TEST(InputGradient, AZeroGradientIsFinite) {
  auto net = SaliencyNetwork(3, 2, 4);
  net.w2 = net.w2.detach().clone();
  net.w2[0].zero_();
  net.w2.set_requires_grad(true);
  const auto value =
      input_gradient(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), {});
  EXPECT_TRUE(std::isfinite(value.item<double>()));
  for (const auto& gradient : torch::autograd::grad({value}, {net.f, net.w1, net.w2}))
    EXPECT_TRUE(gradient.isfinite().all().item<bool>());
}

TEST(InputGradient, WithoutAGraphForEvaluation) {
  const SaliencyNetwork net(3, 1, 4);
  const auto logits = net.logits(net.f);
  const auto value = input_gradient(logits, net.labels, MemberInputs::stacked(net.f), {}, false);
  EXPECT_FALSE(value.requires_grad());
  EXPECT_EQ(value.item<double>(),
            input_gradient(logits, net.labels, MemberInputs::stacked(net.f), {}).item<double>());
}

TEST(InputGradient, WrongArgumentsAreErrors) {
  const SaliencyNetwork net(2, 2, 3), one(1, 2, 3);
  const auto logits = net.logits(net.f);
  const auto fails = [&](const std::string& text, const at::Tensor& z, const MemberInputs& images) {
    expect_error(ErrorKind::kUsage, text, [&] { input_gradient(z, net.labels, images, {}); });
  };
  fails("input_gradient: logits: expected [M >= 2", one.logits(one.f),
        MemberInputs::stacked(one.f));
  fails("input_gradient: images: expected [2, 2, ...] Double cpu, found [3, 2]", logits,
        MemberInputs::stacked(at::zeros({3, 2}, at::kDouble)));
  fails(
      "input_gradient: images: expected a tensor that the logits depend on, found one that they do "
      "not",
      logits, MemberInputs::stacked(net.f.clone()));
  expect_error(ErrorKind::kUsage, "input_gradient: labels: expected [2] Long cpu, found nothing",
               [&] { input_gradient(logits, {}, MemberInputs::stacked(net.f), {}); });
  EXPECT_NO_THROW(
      input_gradient(logits, {}, MemberInputs::stacked(net.f), {InputGradientMode::kMax}));
  for (const auto& name : input_gradient_mode_names())
    EXPECT_EQ(to_string(input_gradient_mode(name)), name);
  expect_error(ErrorKind::kUsage,
               "mode of input_gradient: expected one of max, min, gt, sum, found 'mean'",
               [] { input_gradient_mode("mean"); });
}

TEST(InputGradient, SinglePrecisionAndMemoryAtRealSizes) {
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const auto net = SaliencyNetwork(members, rows, 10, 3, 28).to(at::kFloat);
    const auto exact = net.to(at::kDouble);
    const double wanted =
        input_gradient(exact.logits(exact.f), exact.labels, MemberInputs::stacked(exact.f), {})
            .item<double>();
    PeakMemory memory;
    const auto value =
        input_gradient(net.logits(net.f), net.labels, MemberInputs::stacked(net.f), {});
    const auto gradient = torch::autograd::grad({value}, {net.w1})[0];
    EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    EXPECT_NEAR(value.item<double>(), wanted, 2e-6);  // some 30 roundings of numbers up to 1
    // The head's hidden maps are 4/3 of the images, and are there some times over: once a graph and
    // once a derivative.
    EXPECT_LT(memory.peak(), 11 * static_cast<int64_t>(net.f.nbytes()))
        << static_cast<double>(memory.peak()) / static_cast<double>(net.f.nbytes());
  }
}
