#include <cmath>

#include <dissent/scores/aggregation.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include "expect_error.hpp"
#include "finite_difference.hpp"

using namespace dissent;
using namespace dissent::scores;
using namespace dissent::testing;

namespace {

// Two members, one sample, three classes.
const at::Tensor kTwoMembers =
    at::tensor({1.0, 3.0, 0.0, /**/ 2.0, 1.0, 0.0}, at::kDouble).view({2, 1, 3});

double value(Aggregation which, const at::Tensor& logits = kTwoMembers) {
  return aggregate(which, logits).item<double>();
}

double softmax(double x, std::vector<double> all) {
  double sum = 0;
  for (const double other : all) sum += std::exp(other - x);
  return 1 / sum;
}

}  // namespace

TEST(Aggregation, ClosedForms) {
  const double first = softmax(3, {1, 3, 0}), second = softmax(2, {2, 1, 0});
  EXPECT_NEAR(value(Aggregation::kAverage), softmax(2, {1.5, 2, 0}), 1e-15);
  EXPECT_NEAR(value(Aggregation::kProbAverage), (first + softmax(1, {2, 1, 0})) / 2, 1e-15);
  EXPECT_NEAR(value(Aggregation::kProbMinmax), second, 1e-15);
  EXPECT_NEAR(value(Aggregation::kProbMaxstd), -(first - second) / std::sqrt(2.0),
              1e-15);  // divided by M - 1 = 1
  EXPECT_EQ(value(Aggregation::kLogitAverage), 2);
  EXPECT_EQ(value(Aggregation::kMinmax), 2);
  EXPECT_NEAR(value(Aggregation::kStdmax), -2 / std::sqrt(2.0), 1e-15);
  EXPECT_NEAR(value(Aggregation::kMaxstd), -1 / std::sqrt(2.0), 1e-15);
  EXPECT_EQ(value(Aggregation::kAverageMinmax), 1);  // class 1 is chosen; members give 3 and 1
  EXPECT_NEAR(value(Aggregation::kEnergy), std::log(std::exp(1.5) + std::exp(2.0) + 1), 1e-15);
  const auto lse = [](double a, double b, double c) {
    return std::log(std::exp(a) + std::exp(b) + std::exp(c));
  };
  EXPECT_NEAR(value(Aggregation::kAverageEnergy), (lse(1, 3, 0) + lse(2, 1, 0)) / 2, 1e-15);
}

TEST(Aggregation, NamesAreInTheOrderOfTheEnumeration) {
  EXPECT_EQ(aggregation_names().size(), 11u);
  EXPECT_EQ(aggregation("average"), Aggregation::kAverage);
  EXPECT_EQ(aggregation("average_minmax"), Aggregation::kAverageMinmax);
  EXPECT_EQ(aggregation("average_energy"), Aggregation::kAverageEnergy);
  expect_error(ErrorKind::kUsage, "aggregation: expected one of average, ",
               [] { aggregation("minmix"); });
}

TEST(Aggregation, TheEnsembleMayPredictOtherwise) {
  const auto ensemble = log_mean_probabilities(kTwoMembers);
  EXPECT_NEAR(aggregate(Aggregation::kAverage, kTwoMembers, ensemble).item<double>(),
              mean_probabilities(kTwoMembers).max().item<double>(), 1e-15);
  EXPECT_NEAR(aggregate(Aggregation::kEnergy, kTwoMembers, ensemble).item<double>(), 0,
              1e-15);  // probabilities sum to 1
  EXPECT_EQ(aggregate(Aggregation::kAverageMinmax, kTwoMembers,
                      at::tensor({9.0, 0.0, 0.0}, at::kDouble).unsqueeze(0))
                .item<double>(),
            1);
  expect_error(ErrorKind::kUsage, "energy: ensemble: expected [1, 3] Double cpu, found [3]",
               [] { aggregate(Aggregation::kEnergy, kTwoMembers, at::ones({3}, at::kDouble)); });
}

TEST(Aggregation, LogMeanProbabilitiesStayFiniteWhereProbabilitiesUnderflow) {
  const auto logits = at::tensor({0.0, 2000.0, /**/ 0.0, 2000.0}, at::kDouble).view({2, 1, 2});
  EXPECT_EQ(log_mean_probabilities(logits)[0][0].item<double>(), -2000);
}

TEST(Aggregation, OneMemberAndOneSampleAreEnoughExceptForDeviations) {
  const auto one = made_logits(1, 1, 4);
  for (const auto& name : aggregation_names()) {
    const auto which = aggregation(name);
    if (min_members(which) == 1)
      EXPECT_TRUE(std::isfinite(value(which, one))) << name;
    else
      expect_error(ErrorKind::kUsage, name + ": logits: expected [M >= 2",
                   [&] { value(which, one); });
    EXPECT_EQ(aggregate(which, made_logits(2, 3, 4).narrow(1, 0, 0)).numel(), 0) << name;
  }
}

TEST(Aggregation, EqualMembersDoNotDeviate) {
  const auto logits = made_logits(1, 5, 4).expand({6, -1, -1});
  for (const auto which : {Aggregation::kProbMaxstd, Aggregation::kStdmax, Aggregation::kMaxstd})
    EXPECT_LT(aggregate(which, logits).abs().max().item<double>(), 1e-15);
}

TEST(Aggregation, AShiftOfAllLogitsMovesLogitScoresAndNotProbabilities) {
  const auto logits = made_logits(4, 6, 5);
  for (const auto& name : aggregation_names()) {
    const auto which = aggregation(name);
    const auto moved =
        (aggregate(which, logits + 7) - aggregate(which, logits)).mean().item<double>();
    const bool of_logits = name == "logit_average" || name == "minmax" ||
                           name == "average_minmax" || name.ends_with("energy");
    EXPECT_NEAR(moved, of_logits ? 7 : 0, 1e-12) << name;
  }
}
