#include <dissent/losses/similarity.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "unit/losses/peak_memory.hpp"

using namespace dissent;
using namespace dissent::losses;
using namespace dissent::testing;

namespace {

constexpr auto kAll = {Similarity::kDot, Similarity::kCosine, Similarity::kExpCosine,
                       Similarity::kIou, Similarity::kLogDet};

double value_of(const at::Tensor& x, Similarity kind) { return similarity(x, kind).item<double>(); }

at::Tensor vectors(std::vector<double> values, int64_t members, int64_t rows) {
  return at::tensor(values, at::kDouble).view({members, rows, -1});
}

// The definitions, one pair at a time.
double of_pair(const at::Tensor& a, const at::Tensor& b, Similarity kind) {
  const auto dot = [](const at::Tensor& p, const at::Tensor& q) {
    return (p * q).sum().item<double>();
  };
  const auto unit = [](const at::Tensor& p) { return p / (p.norm() + 1e-6); };
  const auto range = [](const at::Tensor& p) { return (p - p.min()) / (p.max() - p.min() + 1e-6); };
  if (kind == Similarity::kDot) return dot(a, b);
  if (kind != Similarity::kIou) return dot(unit(a), unit(b));
  const auto p = range(a), q = range(b);
  return (dot(p, q) + 1e-6) / (dot(p, p) + dot(q, q) - dot(p, q) + 1e-6);
}

double by_pairs(const at::Tensor& x, Similarity kind) {
  const int64_t members = x.size(0), rows = x.size(1);
  double sum = 0, exponentials = 0;
  for (int64_t b = 0; b < rows; ++b)
    for (int64_t i = 0; i < members; ++i)
      for (int64_t j = 0; j < members; ++j) {
        if (i == j) continue;
        const double value = of_pair(x[i][b], x[j][b], kind);
        sum += value;
        exponentials += std::exp(value);
      }
  return kind == Similarity::kExpCosine ? std::log(exponentials / 2)
                                        : sum / static_cast<double>(rows * members * (members - 1));
}

}  // namespace

TEST(Similarity, TwoVectorsInClosedForm) {
  const auto x = vectors({3, 4, /**/ 4, 3}, 2, 1);
  const double n = 5 / (5 + 1e-6), cosine = 0.96 * n * n;
  EXPECT_NEAR(value_of(x, Similarity::kDot), 24, 1e-13);
  EXPECT_NEAR(value_of(x, Similarity::kCosine), cosine, 1e-14);
  EXPECT_NEAR(value_of(x, Similarity::kExpCosine), cosine, 1e-14);  // log(1/2 of two equal terms)
  // Rescaled to (0, s) and (s, 0) with s = 1 / (1 + 1e-6): nothing in common.
  const double s = 1 / (1 + 1e-6);
  EXPECT_NEAR(value_of(x, Similarity::kIou), 1e-6 / (2 * s * s + 1e-6), 1e-15);
  const double diagonal = n * n + 1e-5;
  EXPECT_NEAR(value_of(x, Similarity::kLogDet), -std::log(diagonal * diagonal - cosine * cosine),
              1e-12);
}

TEST(Similarity, IsTheLoopOverPairs) {
  const auto x = made_logits(6, 7, 11);
  for (const auto kind :
       {Similarity::kDot, Similarity::kCosine, Similarity::kExpCosine, Similarity::kIou})
    EXPECT_NEAR(value_of(x, kind), by_pairs(x, kind), 1e-13) << to_string(kind);
}

TEST(Similarity, BoundsOfTheCosine) {
  // The corners of a simplex are as unlike as M vectors can be.
  const auto corners = at::eye(5, at::kDouble) - 0.2;
  EXPECT_NEAR(value_of(corners.unsqueeze(1), Similarity::kCosine), -0.25, 1e-6);
  const auto equal = made_logits(1, 4, 6).expand({5, -1, -1});
  EXPECT_NEAR(value_of(equal, Similarity::kCosine), 1, 3e-6);  // twice 1e-6 over norms of about 3
  EXPECT_NEAR(value_of(equal, Similarity::kIou), 1, 1e-14);
}

TEST(Similarity, OneLogarithmForTheWholeBatch) {
  const auto x = made_logits(3, 4, 5);
  const double twice = value_of(at::cat({x, x}, 1), Similarity::kExpCosine);
  EXPECT_NEAR(twice, value_of(x, Similarity::kExpCosine) + std::log(2.0), 1e-14);
}

TEST(Similarity, LogDetOfEqualMembersIsDecidedByTheDiagonal) {
  const auto equal = made_logits(1, 3, 6).expand({4, -1, -1}).contiguous();
  const auto length = equal[0].norm(2, 1);
  const auto square = (length / (length + 1e-6)).square();
  const double expected = -((4 * square + 1e-5).log() + 3 * std::log(1e-5)).mean().item<double>();
  EXPECT_NEAR(value_of(equal, Similarity::kLogDet), expected,
              1e-8);  // 1e-16 of rounding over an eigenvalue of 1e-5, M of them
}

TEST(Similarity, GradientAgreesWithFiniteDifferences) {
  for (const auto kind : kAll)
    EXPECT_LT(gradient_error([&](const at::Tensor& x) { return similarity(x, kind); },
                             made_logits(4, 3, 7)),
              kGradientTolerance)
        << to_string(kind);
}

TEST(Similarity, SecondDerivativeAgreesWithFiniteDifferences) {
  const auto direction = made_logits(3, 2, 5, 1, 11);
  for (const auto kind : kAll) {
    const auto slope = [&](const at::Tensor& point) {
      const auto x = point.requires_grad() ? point : point.detach().clone().set_requires_grad(true);
      return (torch::autograd::grad({similarity(x, kind)}, {x}, {}, true, true)[0] * direction)
          .sum();
    };
    EXPECT_LT(gradient_error(slope, made_logits(3, 2, 5)), kGradientTolerance) << to_string(kind);
  }
}

TEST(Similarity, ZeroAndConstantVectorsHaveFiniteDerivatives) {
  auto x = made_logits(3, 4, 5);
  x[0].zero_();
  x[1][1].zero_();
  x[2][2].fill_(0.7);
  for (const auto kind : kAll) {
    EXPECT_TRUE(std::isfinite(value_of(x, kind))) << to_string(kind);
    const auto point = x.clone().set_requires_grad(true);
    const auto gradient =
        torch::autograd::grad({similarity(point, kind)}, {point}, {}, true, true)[0];
    EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << to_string(kind);
    const auto second =
        torch::autograd::grad({gradient.sum()}, {point}, {}, std::nullopt, false, true)[0];
    EXPECT_TRUE(!second.defined() || second.isfinite().all().item<bool>()) << to_string(kind);
  }
  EXPECT_EQ(value_of(at::zeros({3, 2, 4}, at::kDouble), Similarity::kCosine), 0);
}

TEST(Similarity, NanReachesTheValue) {
  auto x = made_logits(3, 4, 5);
  x[1][2][3] = std::nan("");
  for (const auto kind : kAll) EXPECT_TRUE(std::isnan(value_of(x, kind))) << to_string(kind);
}

TEST(Similarity, OrderOfMembersDoesNotMatter) {
  const auto x = made_logits(5, 6, 8);
  const auto order = at::tensor({4, 2, 0, 3, 1}, at::kLong);
  for (const auto kind : kAll)
    EXPECT_NEAR(value_of(x, kind), value_of(x.index_select(0, order), kind), 1e-13)
        << to_string(kind);
}

TEST(Similarity, OneMemberIsAnErrorButForTheDeterminant) {
  const auto one = made_logits(1, 2, 3);
  for (const auto kind :
       {Similarity::kDot, Similarity::kCosine, Similarity::kExpCosine, Similarity::kIou})
    expect_error(ErrorKind::kUsage, "similarity " + to_string(kind) + ": x: expected [M >= 2",
                 [&] { similarity(one, kind); });
  const auto length = one.norm(2, -1);
  const auto expected = -((length / (length + 1e-6)).square() + 1e-5).log().mean().item<double>();
  EXPECT_NEAR(value_of(one, Similarity::kLogDet), expected, 1e-14);
  expect_error(ErrorKind::kUsage, "found [2, 3] Double cpu",
               [] { similarity(at::zeros({2, 3}, at::kDouble), Similarity::kDot); });
  expect_error(ErrorKind::kUsage, "found [2, 0, 3] Double cpu",
               [] { similarity(at::zeros({2, 0, 3}, at::kDouble), Similarity::kLogDet); });
  expect_error(ErrorKind::kUsage, "Long",
               [] { similarity(at::zeros({2, 1, 3}, at::kLong), Similarity::kDot); });
}

TEST(Similarity, NamesGoBothWays) {
  for (const auto kind : kAll) EXPECT_EQ(similarity_kind(to_string(kind)), kind);
  EXPECT_EQ(similarity_names().size(), 5u);
  expect_error(ErrorKind::kUsage,
               "similarity: expected one of dot, cosine, expcosine, iou, logdet, found 'cos'",
               [] { similarity_kind("cos"); });
}

TEST(Similarity, SinglePrecisionStaysNearDouble) {
  const auto x = made_logits(50, 16, 64).to(at::kFloat);
  const auto alike =
      (x * 1e-3 + x[0]).contiguous();  // nearly equal members: the determinant is near 0
  for (const auto& point : {x, alike})
    for (const auto kind : kAll) {
      const double exact = value_of(point.to(at::kDouble), kind);
      const double scale = kind == Similarity::kDot ? point.square().sum(-1).mean().item<double>()
                                                    : std::max(1.0, std::abs(exact));
      EXPECT_EQ(similarity(point, kind).scalar_type(), at::kFloat);
      // Sums of a few thousand rounded terms: some ten times 6e-8 of the terms' size.
      EXPECT_NEAR(value_of(point, kind), exact, 2e-6 * scale) << to_string(kind);
    }
}

TEST(Similarity, MemoryIsAFewTimesTheInputAndOneGramMatrix) {
  // In inputs, with the gradient; the determinant works on f64, twice the size.
  const std::map<Similarity, int64_t> inputs = {{Similarity::kDot, 4},
                                                {Similarity::kCosine, 4},
                                                {Similarity::kExpCosine, 5},
                                                {Similarity::kIou, 6},
                                                {Similarity::kLogDet, 12}};
  for (const auto& [members, rows] : {std::pair<int64_t, int64_t>{5, 128}, {50, 16}}) {
    const int64_t dim = 400, input = members * rows * dim * 4, gram = rows * members * members * 4;
    for (const auto kind : kAll) {
      const auto x = made_logits(members, rows, dim).to(at::kFloat).set_requires_grad(true);
      PeakMemory memory;
      const auto gradient = torch::autograd::grad({similarity(x, kind)}, {x})[0];
      EXPECT_TRUE(gradient.isfinite().all().item<bool>());
      EXPECT_GT(memory.peak(), input);
      EXPECT_LT(memory.peak(), inputs.at(kind) * input + 2 * gram + 4 * members * rows * 8)
          << to_string(kind) << ", " << members << " members";
    }
  }
}
