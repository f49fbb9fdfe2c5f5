#include "ensemble/objective.hpp"

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/hard_sample_weight.hpp>
#include <dissent/losses/kl_backward.hpp>

#include <cmath>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using Options = ObjectiveOptions;

at::Tensor labels() { return at::tensor({0, 2, 1, 4, 3, 3}, at::kLong); }

Options a2d_options() {
  Options options;
  options.cross_entropy_weight = 0.7;
  options.label_smoothing = 0.2;
  options.repulsion = Options::Repulsion::kA2d;
  options.repulsion_weight = 1.5;
  options.sample_weight = Options::SampleWeight::kHard;
  return options;
}

double number(const at::Tensor& tensor) { return tensor.item<double>(); }

}  // namespace

TEST(Objective, IsTheWeightedSumOfItsTerms) {
  const auto logits = made_logits(3, 6, 5);
  const auto value = objective(logits, labels(), {}, 1, 0, a2d_options());
  const double cross_entropy = number(losses::cross_entropy(logits, labels(), 0.2).mean());
  const double repulsion = number((losses::a2d(logits, 1) * losses::hard_sample_weight(logits, labels())).mean());
  EXPECT_NEAR(number(value.cross_entropy), cross_entropy, 1e-14);
  EXPECT_NEAR(number(value.repulsion), repulsion, 1e-14);
  EXPECT_NEAR(number(value.total), 0.7 * cross_entropy + 1.5 * repulsion, 1e-14);
  EXPECT_EQ(number(value.regulariser), 0);
}

TEST(Objective, GradientIsThatOfTheTotalWithConstantWeights) {
  const auto logits = made_logits(3, 6, 5);
  const auto weight = losses::hard_sample_weight(logits, labels());
  const auto f = [&](const at::Tensor& x) {
    return 0.7 * losses::cross_entropy(x, labels(), 0.2).mean() + 1.5 * (losses::a2d(x, 1) * weight).mean();
  };
  const auto ours = gradient_of([&](const at::Tensor& x) { return objective(x, labels(), {}, 1, 0, a2d_options()).total; }, logits);
  EXPECT_LT((ours - gradient_of(f, logits)).abs().max().item<double>(), 1e-14);
}

TEST(Objective, BeforeItsEpochNothingRepelsOrSplitsAndCrossEntropyKeepsItsWeight) {
  auto options = a2d_options();
  options.from_epoch = 2;
  options.sample_weight = Options::SampleWeight::kNone;
  options.below_threshold = 0.9;
  options.regulariser_weight = 1.0;
  const auto logits = made_logits(3, 6, 5);
  const auto off = objective(logits, labels(), {}, 0, 1, options), on = objective(logits, labels(), {}, 0, 2, options);
  EXPECT_NEAR(number(off.total), 0.7 * number(losses::cross_entropy(logits, labels(), 0.2).mean()), 1e-14);
  EXPECT_EQ(number(off.repulsion), 0);
  EXPECT_EQ(number(off.regulariser), 0);
  EXPECT_GT(std::abs(number(on.repulsion)), 0);
}

TEST(Objective, ThresholdSendsEachSampleToOneTerm) {
  auto options = a2d_options();
  options.sample_weight = Options::SampleWeight::kNone;
  options.below_threshold = 0.3;
  options.regulariser_weight = 0.4;
  auto logits = made_logits(2, 6, 5);
  logits.select(1, 0).select(1, 0).add_(20);  // samples 0 and 3 are sure and right for both members
  logits.select(1, 3).select(1, 4).add_(20);
  const auto above = at::tensor({0, 3}, at::kLong), below = at::tensor({1, 2, 4, 5}, at::kLong);
  const auto all_labels = at::tensor({0, 2, 1, 4, 3, 3}, at::kLong);
  ASSERT_TRUE(at::equal(losses::above_threshold(logits, all_labels, 0.3).nonzero().squeeze(1), above));
  const auto value = objective(logits, all_labels, {}, 0, 0, options);
  const auto trained = logits.index_select(1, above), repelled = logits.index_select(1, below);
  EXPECT_NEAR(number(value.cross_entropy), number(losses::cross_entropy(trained, all_labels.index_select(0, above), 0.2).mean()), 1e-14);
  EXPECT_NEAR(number(value.repulsion), number(losses::a2d(repelled, 0).mean()), 1e-14);
  EXPECT_NEAR(number(value.regulariser), number(losses::kl_backward(repelled, losses::mean_prediction(trained))), 1e-14);
}

TEST(Objective, AnEmptyPartContributesNothing) {
  auto options = a2d_options();
  options.sample_weight = Options::SampleWeight::kNone;
  options.regulariser_weight = 1.0;
  const auto logits = made_logits(2, 6, 5);
  options.below_threshold = 1.0;  // none is above
  const auto below = objective(logits, labels(), {}, 0, 0, options);
  EXPECT_EQ(number(below.cross_entropy), 0);
  EXPECT_EQ(number(below.regulariser), 0);
  EXPECT_NEAR(number(below.total), 1.5 * number(losses::a2d(logits, 0).mean()), 1e-14);
  options.below_threshold = 0.0;  // all are above
  const auto above = objective(logits, labels(), {}, 0, 0, options);
  EXPECT_EQ(number(above.repulsion), 0);
  EXPECT_NEAR(number(above.total), 0.7 * number(above.cross_entropy), 1e-14);
}

TEST(Objective, UnlabelledBatchRepelsAndWithoutOneNothingDoes) {
  auto options = a2d_options();
  options.sample_weight = Options::SampleWeight::kNone;
  options.repulsion_on = Options::RepulsionOn::kUnlabelled;
  const auto logits = made_logits(2, 6, 5), other = made_logits(2, 9, 5, 1.5, 5);
  EXPECT_NEAR(number(objective(logits, labels(), other, 1, 0, options).repulsion), number(losses::a2d(other, 1).mean()), 1e-14);
  EXPECT_EQ(number(objective(logits, labels(), {}, 1, 0, options).repulsion), 0);
  expect_error(ErrorKind::kUsage, "unlabelled: wanted [2, B, 5] Double cpu, given [3, 9, 5]",
               [&] { objective(logits, labels(), made_logits(3, 9, 5), 1, 0, options); });
}

TEST(Objective, ARepulsionOfWeightZeroIsReportedAndLearnsNothing) {
  auto options = a2d_options();
  options.repulsion_weight = 0;
  const auto logits = made_logits(3, 6, 5);
  const auto value = objective(logits, labels(), {}, 1, 0, options);
  EXPECT_NE(number(value.repulsion), 0);
  const auto ours = gradient_of([&](const at::Tensor& x) { return objective(x, labels(), {}, 1, 0, options).total; }, logits);
  const auto alone = gradient_of([&](const at::Tensor& x) { return 0.7 * losses::cross_entropy(x, labels(), 0.2).mean(); }, logits);
  EXPECT_LT((ours - alone).abs().max().item<double>(), 1e-15);
}

TEST(Objective, NanReachesTheTotal) {
  for (const double weight : {0.0, 1.5}) {
    auto options = a2d_options();
    options.repulsion_weight = weight;
    auto logits = made_logits(3, 6, 5);
    logits[2][4][1] = std::nan("");
    EXPECT_TRUE(std::isnan(number(objective(logits, labels(), {}, 1, 0, options).total)));
  }
}

TEST(Objective, ReportedValuesCarryNoGraph) {
  const auto value = objective(made_logits(3, 6, 5).set_requires_grad(true), labels(), {}, 1, 0, a2d_options());
  EXPECT_TRUE(value.total.requires_grad());
  EXPECT_FALSE(value.cross_entropy.requires_grad() || value.repulsion.requires_grad() || value.regulariser.requires_grad());
}

TEST(Objective, OneActiveMemberTrainsWithoutRepulsionAndIsAnErrorWithIt) {
  const auto logits = made_logits(1, 6, 5);
  EXPECT_NO_THROW(objective(logits, labels(), {}, 0, 0, Options{}));
  expect_error(ErrorKind::kUsage, "wanted [M >= 2", [&] { objective(logits, labels(), {}, 0, 0, a2d_options()); });
}

TEST(Objective, ContradictionsAreRefused) {
  const auto refused = [](const std::string& text, auto change) {
    auto options = a2d_options();
    change(options);
    expect_error(ErrorKind::kUsage, text, [&] { check(options); });
  };
  EXPECT_NO_THROW(check(a2d_options()));
  refused("divdis", [](Options& o) { o.repulsion = Options::Repulsion::kDivDis; });
  refused("below_threshold cannot be given together", [](Options& o) { o.below_threshold = 0.5; });
  refused("needs labels", [](Options& o) { o.repulsion_on = Options::RepulsionOn::kUnlabelled; });
  refused("splits the labelled batch", [](Options& o) {
    o.sample_weight = Options::SampleWeight::kNone;
    o.below_threshold = 0.5;
    o.repulsion_on = Options::RepulsionOn::kUnlabelled;
  });
  refused("needs a repulsion", [](Options& o) {
    o.sample_weight = Options::SampleWeight::kNone;
    o.below_threshold = 0.5;
    o.repulsion = Options::Repulsion::kNone;
  });
  refused("cross_entropy_weight: wanted a number >= 0, given -1", [](Options& o) { o.cross_entropy_weight = -1; });
  refused("repulsion_weight", [](Options& o) { o.repulsion_weight = std::nan(""); });
  refused("label_smoothing", [](Options& o) { o.label_smoothing = 1.1; });
  refused("from_epoch", [](Options& o) { o.from_epoch = -1; });
}
