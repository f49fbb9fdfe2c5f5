#include <dissent/metrics/diversity.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::metrics;
using namespace dissent::testing;

namespace {

DiversityValues values_of(const at::Tensor& logits, const at::Tensor& labels = {}) {
  Diversity state(logits.size(0));
  state.update(logits, labels);
  return state.finish();
}

double entropy_of(const at::Tensor& p) { return -(p * p.log()).sum(-1).mean().item<double>(); }

// Members with given predictions over three classes, and certainty.
at::Tensor voting(std::vector<std::vector<int64_t>> predictions) {
  std::vector<at::Tensor> members;
  for (const auto& own : predictions)
    members.push_back(at::one_hot(at::tensor(own, at::kLong), 3).to(at::kDouble));
  return at::stack(members);
}

}  // namespace

TEST(Diversity, EqualsTheLoopsOverPairs) {
  const auto logits = made_logits(4, 50, 6);
  const auto p = at::softmax(logits, -1);
  const auto values = values_of(logits);
  double kl = 0, js = 0, different = 0;
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 4; ++j) {
      if (i == j) continue;
      kl += (p[i] * (p[i] / p[j]).log()).sum(-1).mean().item<double>();
      js += entropy_of((p[i] + p[j]) / 2) - (entropy_of(p[i]) + entropy_of(p[j])) / 2;
      different += p[i].argmax(-1).ne(p[j].argmax(-1)).to(at::kDouble).mean().item<double>();
    }
  EXPECT_NEAR(values.kl, kl / 12, 1e-13);
  EXPECT_NEAR(values.jensen_shannon, js / 12, 1e-13);
  EXPECT_NEAR(values.disagreement, different / 12, 1e-14);
  EXPECT_NEAR(values.variance, p.var(0, true).mean().item<double>(), 1e-14);
  EXPECT_NEAR(values.total_entropy, entropy_of(p.mean(0)), 1e-13);
  EXPECT_NEAR(values.mutual_information, entropy_of(p.mean(0)) - entropy_of(p), 1e-13);
  EXPECT_TRUE(std::isnan(values.q_statistic) && std::isnan(values.double_fault));
}

TEST(Diversity, RightAndWrongInClosedForm) {
  // Labels 0. First member right on 0..5, second on 0..3 and 6: a 4, b 2, c 1, d 1.
  const auto outputs = voting({{0, 0, 0, 0, 0, 0, 1, 1}, {0, 0, 0, 0, 1, 1, 0, 2}});
  Diversity state(2);
  state.update(outputs, at::zeros({8}, at::kLong), MemberOutputs::kProbabilities);
  const auto values = state.finish();
  EXPECT_DOUBLE_EQ(values.q_statistic, (4.0 * 1 - 2 * 1) / (4.0 * 1 + 2 * 1));
  EXPECT_DOUBLE_EQ(values.correlation, 2 / std::sqrt(6.0 * 2 * 5 * 3));
  EXPECT_DOUBLE_EQ(values.double_fault, 1.0 / 8);
  EXPECT_DOUBLE_EQ(values.unequal_success, 3.0 / 8);
  EXPECT_DOUBLE_EQ(values.disagreement, 4.0 / 8);  // also where both are wrong, differently
  EXPECT_DOUBLE_EQ(state.disagreement_matrix()[1][0].item<double>(), 0.5);
  EXPECT_EQ(values.kl, HUGE_VAL);                                // certain and different
  EXPECT_NEAR(values.jensen_shannon, std::log(2.0) / 2, 1e-15);  // log 2 where they differ
  EXPECT_NEAR(values.mutual_information, std::log(2.0) / 2, 1e-15);
}

TEST(Diversity, EqualMembersHaveNoneAndUndefinedPairsAreLeftOut) {
  const auto one = made_logits(1, 20, 5);
  const auto labels = at::zeros({20}, at::kLong);
  auto values = values_of(one.expand({3, 20, 5}), labels);
  EXPECT_EQ(values.disagreement, 0);
  EXPECT_NEAR(values.kl, 0, 1e-15);
  EXPECT_NEAR(values.jensen_shannon, 0, 1e-15);
  EXPECT_NEAR(values.variance, 0, 1e-15);
  EXPECT_EQ(values.q_statistic, 1);
  EXPECT_NEAR(values.correlation, 1, 1e-15);
  values = values_of(at::ones({2, 3, 2}, at::kDouble),
                     at::zeros({3}, at::kLong));  // always right: no pair is defined
  EXPECT_TRUE(std::isnan(values.q_statistic) && std::isnan(values.correlation));
  EXPECT_EQ(values.double_fault, 0);
}

TEST(Diversity, AnySplitAndOrderOfMembersAgree) {
  const auto logits = made_logits(3, 101, 7).to(at::kFloat);
  const auto labels = at::arange(101).remainder(7);
  Diversity whole(3), first(3), second(3), merged(3);
  whole.update(logits, labels);
  first.update(logits.slice(1, 0, 40), labels.slice(0, 0, 40));
  second.update(logits.slice(1, 40), labels.slice(0, 40));
  merged.from_state(first.state() + second.state());
  EXPECT_TRUE(at::equal(merged.state(), whole.state()));
  first.merge(second);
  EXPECT_TRUE(at::equal(first.state(), whole.state()));
  const auto turned = values_of(logits.flip(0), labels), straight = whole.finish();
  EXPECT_NEAR(turned.kl, straight.kl, 1e-14);
  EXPECT_NEAR(turned.correlation, straight.correlation, 1e-14);
}

TEST(Diversity, WrongInputsAreErrors) {
  Diversity state(3, false);
  expect_error(ErrorKind::kUsage, "members: expected 2 or more, found 1", [] { Diversity(1); });
  expect_error(ErrorKind::kUsage, "expected 3 members",
               [&] { state.update(made_logits(4, 5, 6)); });
  expect_error(ErrorKind::kUsage, "labels: expected [5] Long",
               [&] { state.update(made_logits(3, 5, 6), at::zeros({4}, at::kLong)); });
  expect_error(ErrorKind::kData, "expected at least one sample", [&] { state.finish(); });
  state.update(made_logits(3, 5, 6));
  EXPECT_TRUE(std::isnan(state.finish().jensen_shannon));
  state.update(made_logits(3, 5, 6), at::zeros({5}, at::kLong));
  expect_error(ErrorKind::kUsage, "all 10 samples or none, found for 5", [&] { state.finish(); });
}
