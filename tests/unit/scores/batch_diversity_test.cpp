#include <dissent/scores/batch_diversity.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {
// Logits of two members whose softmax is exactly one-hot at the given classes.
at::Tensor certain(std::vector<int64_t> first, std::vector<int64_t> second, int64_t count) {
  return at::one_hot(at::stack({at::tensor(first, at::kLong), at::tensor(second, at::kLong)}),
                     count)
             .to(at::kDouble) *
         2000;
}
}  // namespace

TEST(BatchDiversity, VarianceDividesByMembersMinusOneAndIsNegative) {
  const auto logits =
      certain({0, 1}, {0, 2},
              3);  // in one of two samples, two of three classes have p = 1 and 0: variance 1/2
  EXPECT_NEAR(variance(logits).item<double>(), -2 * 0.5 / 6, 1e-15);
  EXPECT_NEAR(standard_deviation(logits).item<double>(), -2 * std::sqrt(0.5) / 6, 1e-15);
}

TEST(BatchDiversity, MaxVarianceEqualsTheStackOfAllPredictedClasses) {
  const auto logits = made_logits(3, 7, 5);
  const auto p = at::softmax(logits, -1);
  const auto wide = p.index_select(2, p.argmax(-1).flatten());  // [M, B, M B]
  EXPECT_NEAR(max_variance(logits).item<double>(), wide.var(0, true).mean().item<double>(), 1e-15);
  EXPECT_GT(max_variance(logits).item<double>(), 0);
}

TEST(BatchDiversity, InformationInClosedForm) {
  EXPECT_NEAR(divdis_information(certain({0, 1, 2, 3}, {1, 2, 3, 0}, 4)).item<double>(),
              std::log(4.0) + 1e-9, 1e-14);
  EXPECT_NEAR(divdis_information(certain({0, 0, 1, 1}, {0, 1, 0, 1}, 2)).item<double>(), 1e-9,
              1e-15);
}

TEST(BatchDiversity, KlIsNegativeAndZeroForEqualMembers) {
  EXPECT_EQ(kl_divergence(made_logits(1, 4, 5).expand({3, -1, -1})).item<double>(), 0);
  const auto logits = at::tensor({0.0, 0.0, /**/ 0.0, std::log(3.0)}, at::kDouble).view({2, 1, 2});
  EXPECT_NEAR(kl_divergence(logits).item<double>(), -(0.25 * std::log(0.5) + 0.75 * std::log(1.5)),
              1e-7);
}

TEST(BatchDiversity, OneMemberIsAnError) {
  for (const auto measure :
       {variance, standard_deviation, max_variance, divdis_information, kl_divergence})
    expect_error(ErrorKind::kUsage, "expected [M >= 2", [&] { measure(made_logits(1, 4, 5)); });
}
