#include <cstdint>
#include <utility>

#include <dissent/losses/ncl.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "unit/losses/peak_memory.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

TEST(Ncl, TwoCertainMembersInClosedForm) {
  // p = (1, 0) and (0, 1): d = +-(1/2, -1/2), so each ordered pair has -1/2. The second sample has
  // them agree.
  const auto logits =
      at::tensor({2000.0, 0.0, 2000.0, 0.0, /**/ 0.0, 2000.0, 2000.0, 0.0}, at::kDouble)
          .view({2, 2, 2});
  EXPECT_NEAR(ncl(logits).item<double>(), -0.25, 1e-16);
  EXPECT_TRUE(gradient_of([](const at::Tensor& x) { return ncl(x); }, logits)
                  .isfinite()
                  .all()
                  .item<bool>());
}

TEST(Ncl, IsTheMeanOverOrderedPairs) {
  const int64_t members = 4, rows = 6;
  const auto p = at::softmax(made_logits(members, rows, 5), -1), d = p - p.mean(0);
  double sum = 0;
  for (int64_t i = 0; i < members; ++i)
    for (int64_t j = 0; j < members; ++j)
      if (i != j) sum += (d[i] * d[j]).sum().item<double>();
  EXPECT_NEAR(ncl(made_logits(members, rows, 5)).item<double>(),
              sum / (members * (members - 1) * rows), 1e-16);
}

TEST(Ncl, GradientAgreesWithFiniteDifferencesWhetherTheMeanMovesOrNot) {
  const auto logits = made_logits(3, 4, 5);
  const auto mean = at::softmax(logits, -1).mean(0);
  const auto with_this_mean = [&](const at::Tensor& z) {
    const auto d = at::softmax(z, -1) - mean;
    return (d.sum(0).square() - d.square().sum(0)).sum() / (3 * 2 * 4);
  };
  EXPECT_LT(gradient_error(with_this_mean, logits), kGradientTolerance);
  const auto ours = gradient_of([](const at::Tensor& x) { return ncl(x); }, logits);
  EXPECT_LT((ours - gradient_of(with_this_mean, logits)).abs().max().item<double>(), 1e-16);
  EXPECT_LT(gradient_error([](const at::Tensor& x) { return ncl(x); }, logits), kGradientTolerance);
}

TEST(Ncl, OrderOfMembersDoesNotMatter) {
  const auto logits = made_logits(4, 6, 5);
  EXPECT_NEAR(ncl(logits).item<double>(),
              ncl(logits.index_select(0, at::tensor({2, 0, 3, 1}, at::kLong))).item<double>(),
              1e-16);
}

TEST(Ncl, OneSampleIsEnoughAndOneMemberIsNot) {
  EXPECT_LT(ncl(made_logits(2, 1, 3)).item<double>(), 0);
  expect_error(ErrorKind::kUsage, "ncl: logits: expected [M >= 2",
               [] { ncl(made_logits(1, 4, 5)); });
}

TEST(Ncl, SinglePrecisionStaysNearDoubleWithinItsMemory) {
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const auto logits = made_logits(members, rows, 1000).to(at::kFloat).set_requires_grad(true);
    const auto exact = logits.detach().to(at::kDouble).set_requires_grad(true);
    const auto exact_gradient = torch::autograd::grad({ncl(exact)}, {exact})[0];
    PeakMemory memory;
    const auto value = ncl(logits);
    const auto gradient = torch::autograd::grad({value}, {logits})[0];
    EXPECT_LT(memory.peak(), (5.01 * logits.numel() + rows * 1000) * 4) << members;
    // Values are at most 1 / M; a probability is off by some roundings of 6e-8, and the mean of a
    // thousand samples and classes by less.
    EXPECT_NEAR(value.item<double>(), ncl(exact).item<double>(), 1e-7);
    EXPECT_LT((gradient - exact_gradient).abs().max().item<double>(),
              1e-6 * exact_gradient.abs().max().item<double>());
  }
}
