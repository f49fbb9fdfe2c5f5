#include "ensemble/objective.hpp"

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/hard_sample_weight.hpp>
#include <dissent/losses/kl_backward.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "objectives.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using Options = ObjectiveOptions;

at::Tensor labels() { return at::tensor({0, 2, 1, 4, 3, 3}, at::kLong); }

constexpr size_t kCrossEntropy = 0, kA2d = 1, kRegulariser = 2;

Options a2d_options() { return sed_objective(0.7, 0.2, 1.5); }

// Without the hard weight, with the regulariser.
Options plain_options(double regulariser_weight) {
  return {.terms = {cross_entropy_term(0.7, 0.2), a2d_term(1.5, false),
                    term("kl_backward", regulariser_weight)}};
}

double number(const at::Tensor& tensor) { return tensor.item<double>(); }

}  // namespace

TEST(Objective, IsTheWeightedSumOfItsTerms) {
  const auto logits = made_logits(3, 6, 5);
  const auto value = objective(logits, labels(), {}, 1, 0, 0, a2d_options());
  const double cross_entropy = number(losses::cross_entropy(logits, labels(), 0.2).mean());
  const double repulsion =
      number((losses::a2d(logits, 1) * losses::hard_sample_weight(logits, labels())).mean());
  EXPECT_NEAR(number(value.terms[kCrossEntropy]), cross_entropy, 1e-14);
  EXPECT_NEAR(number(value.terms[kA2d]), repulsion, 1e-14);
  EXPECT_NEAR(number(value.total), 0.7 * cross_entropy + 1.5 * repulsion, 1e-14);
}

TEST(Objective, GradientIsThatOfTheTotalWithConstantWeights) {
  const auto logits = made_logits(3, 6, 5);
  const auto weight = losses::hard_sample_weight(logits, labels());
  const auto f = [&](const at::Tensor& x) {
    return 0.7 * losses::cross_entropy(x, labels(), 0.2).mean() +
           1.5 * (losses::a2d(x, 1) * weight).mean();
  };
  const auto ours = gradient_of(
      [&](const at::Tensor& x) { return objective(x, labels(), {}, 1, 0, 0, a2d_options()).total; },
      logits);
  EXPECT_LT((ours - gradient_of(f, logits)).abs().max().item<double>(), 1e-14);
}

TEST(Objective, BeforeItsEpochNothingRepelsOrSplitsAndCrossEntropyKeepsItsWeight) {
  auto options = a2d_options();
  options = plain_options(1.0);
  for (const size_t i : {kA2d, kRegulariser}) options.terms[i].weight.from_epoch = 2;
  options.below_threshold = 0.9;
  const auto logits = made_logits(3, 6, 5);
  const auto off = objective(logits, labels(), {}, 0, 1, 0, options),
             on = objective(logits, labels(), {}, 0, 2, 0, options);
  EXPECT_NEAR(number(off.total), 0.7 * number(losses::cross_entropy(logits, labels(), 0.2).mean()),
              1e-14);
  EXPECT_EQ(number(off.terms[kA2d]), 0);
  EXPECT_EQ(number(off.terms[kRegulariser]), 0);
  EXPECT_GT(std::abs(number(on.terms[kA2d])), 0);
}

TEST(Objective, ThresholdSendsEachSampleToOneTerm) {
  auto options = plain_options(0.4);
  options.below_threshold = 0.3;
  auto logits = made_logits(2, 6, 5);
  logits.select(1, 0).select(1, 0).add_(20);  // samples 0 and 3 are sure and right for both members
  logits.select(1, 3).select(1, 4).add_(20);
  const auto above = at::tensor({0, 3}, at::kLong), below = at::tensor({1, 2, 4, 5}, at::kLong);
  const auto all_labels = at::tensor({0, 2, 1, 4, 3, 3}, at::kLong);
  ASSERT_TRUE(
      at::equal(losses::above_threshold(logits, all_labels, 0.3).nonzero().squeeze(1), above));
  const auto value = objective(logits, all_labels, {}, 0, 0, 0, options);
  const auto trained = logits.index_select(1, above), repelled = logits.index_select(1, below);
  EXPECT_NEAR(number(value.terms[kCrossEntropy]),
              number(losses::cross_entropy(trained, all_labels.index_select(0, above), 0.2).mean()),
              1e-14);
  EXPECT_NEAR(number(value.terms[kA2d]), number(losses::a2d(repelled, 0).mean()), 1e-14);
  EXPECT_NEAR(number(value.terms[kRegulariser]),
              number(losses::kl_backward(repelled, losses::mean_prediction(trained))), 1e-14);
}

TEST(Objective, AnEmptyPartContributesNothing) {
  auto options = plain_options(1.0);
  const auto logits = made_logits(2, 6, 5);
  options.below_threshold = 1.0;  // none is above
  const auto below = objective(logits, labels(), {}, 0, 0, 0, options);
  EXPECT_EQ(number(below.terms[kCrossEntropy]), 0);
  EXPECT_EQ(number(below.terms[kRegulariser]), 0);
  EXPECT_NEAR(number(below.total), 1.5 * number(losses::a2d(logits, 0).mean()), 1e-14);
  options.below_threshold = 0.0;  // all are above
  const auto above = objective(logits, labels(), {}, 0, 0, 0, options);
  EXPECT_EQ(number(above.terms[kA2d]), 0);
  EXPECT_NEAR(number(above.total), 0.7 * number(above.terms[kCrossEntropy]), 1e-14);
}

TEST(Objective, UnlabelledBatchRepelsAndWithoutOneNothingDoes) {
  Options options{.terms = {cross_entropy_term(0.7, 0.2), a2d_term(1.5, false)}};
  options.repulsion_on = Options::RepulsionOn::kUnlabelled;
  const auto logits = made_logits(2, 6, 5), other = made_logits(2, 9, 5, 1.5, 5);
  EXPECT_NEAR(number(objective(logits, labels(), other, 1, 0, 0, options).terms[kA2d]),
              number(losses::a2d(other, 1).mean()), 1e-14);
  EXPECT_EQ(number(objective(logits, labels(), {}, 1, 0, 0, options).terms[kA2d]), 0);
  expect_error(ErrorKind::kUsage, "unlabelled: expected [2, B, 5] Double cpu, found [3, 9, 5]",
               [&] { objective(logits, labels(), made_logits(3, 9, 5), 1, 0, 0, options); });
}

TEST(Objective, ARepulsionOfWeightZeroIsReportedAndLearnsNothing) {
  auto options = a2d_options();
  options.terms[kA2d].weight.weight = 0;
  const auto logits = made_logits(3, 6, 5);
  const auto value = objective(logits, labels(), {}, 1, 0, 0, options);
  EXPECT_NE(number(value.terms[kA2d]), 0);
  const auto ours = gradient_of(
      [&](const at::Tensor& x) { return objective(x, labels(), {}, 1, 0, 0, options).total; },
      logits);
  const auto alone = gradient_of(
      [&](const at::Tensor& x) { return 0.7 * losses::cross_entropy(x, labels(), 0.2).mean(); },
      logits);
  EXPECT_LT((ours - alone).abs().max().item<double>(), 1e-15);
}

TEST(Objective, NanReachesTheTotal) {
  for (const double weight : {0.0, 1.5}) {
    auto options = a2d_options();
    options.terms[kA2d].weight.weight = weight;
    auto logits = made_logits(3, 6, 5);
    logits[2][4][1] = std::nan("");
    EXPECT_TRUE(std::isnan(number(objective(logits, labels(), {}, 1, 0, 0, options).total)));
  }
}

TEST(Objective, ReportedValuesCarryNoGraph) {
  const auto value =
      objective(made_logits(3, 6, 5).set_requires_grad(true), labels(), {}, 1, 0, 0, a2d_options());
  EXPECT_TRUE(value.total.requires_grad());
  EXPECT_FALSE(value.terms[kCrossEntropy].requires_grad() || value.terms[kA2d].requires_grad());
}

TEST(Objective, OneActiveMemberTrainsWithoutRepulsionAndIsAnErrorWithIt) {
  const auto logits = made_logits(1, 6, 5);
  EXPECT_NO_THROW(
      objective(logits, labels(), {}, 0, 0, 0, Options{.terms = {cross_entropy_term()}}));
  expect_error(ErrorKind::kUsage, "expected [M >= 2",
               [&] { objective(logits, labels(), {}, 0, 0, 0, a2d_options()); });
}

TEST(Objective, ContradictionsAreRefused) {
  const auto refused = [](const std::string& text, auto change) {
    auto options = a2d_options();
    change(options);
    expect_error(ErrorKind::kUsage, text, [&] { check(options); });
  };
  EXPECT_NO_THROW(check(a2d_options()));
  refused("or below_threshold, found both", [](Options& o) { o.below_threshold = 0.5; });
  refused("needs labels", [](Options& o) { o.repulsion_on = Options::RepulsionOn::kUnlabelled; });
  refused("splits the labelled batch", [](Options& o) {
    o.terms[kA2d] = a2d_term(1, false);
    o.below_threshold = 0.5;
    o.repulsion_on = Options::RepulsionOn::kUnlabelled;
  });
  refused("expected a diversity loss or a regulariser", [](Options& o) {
    o.terms.pop_back();
    o.below_threshold = 0.5;
  });
  refused("at least one loss", [](Options& o) { o.terms.clear(); });
  refused("each loss once", [](Options& o) { o.terms.push_back(o.terms[0]); });
  refused("found 'ncll'", [](Options& o) { o.terms.push_back(term("ncll", 1)); });
  refused("gradcam: needs feature maps", [](Options& o) { o.terms.push_back(term("gradcam", 1)); });
  refused("cross_entropy: weight: expected a number >= 0, found -1",
          [](Options& o) { o.terms[kCrossEntropy].weight.weight = -1; });
  refused("a2d: weight", [](Options& o) { o.terms[kA2d].weight.weight = std::nan(""); });
}

TEST(Objective, AnySetOfLossesIsSummedEachBySchedule) {
  Options options{.terms = {cross_entropy_term(0.5), a2d_term(0.3, true), term("ncl", 0.2),
                            term("adp", 0.1), term("oe", 0.6)}};
  options.terms[2].weight = {.weight = 0.2, .ramp_epochs = 4};
  options.terms[3].weight = {.weight = 0.1, .period = 2};
  const auto logits = made_logits(3, 6, 5), outliers = made_logits(3, 4, 5, 1.5, 3);
  const auto at_step = [&](int64_t epoch, int64_t step) {
    return objective(logits, labels(), outliers, 1, epoch, step, options);
  };
  const auto value = at_step(2, 1);
  const auto of = [&](size_t i) { return number(value.terms[i]); };
  EXPECT_NEAR(number(value.total),
              0.5 * of(0) + 0.3 * of(1) + 0.2 * 2 / 4 * of(2) + 0.1 * of(3) + 0.6 * of(4), 1e-14);
  EXPECT_NEAR(number(value.base), 0.5 * of(0), 1e-15);
  EXPECT_NEAR(number(value.total), number(value.base) + number(value.diversity), 1e-14);
  for (size_t i = 0; i < 5; ++i) EXPECT_NE(of(i), 0) << i;
  EXPECT_EQ(number(at_step(2, 0).terms[3]), 0);  // off on the first step of the period
  EXPECT_EQ(number(at_step(0, 1).terms[2]), 0);  // the ramp starts at 0
  EXPECT_EQ(terms_on(options, 2, 0), uint64_t{0b10111});
}
