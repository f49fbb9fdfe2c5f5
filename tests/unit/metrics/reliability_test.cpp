#include <dissent/metrics/classification.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/metrics/set_means.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

#include "expect_error.hpp"
#include "finite_difference.hpp"
#include "tensors.hpp"

using namespace dissent;
using namespace dissent::metrics;
using namespace dissent::testing;

namespace {

struct Answers {
  at::Tensor confidence, right;
};

Answers made_answers(int64_t count) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(uint64_t{5});
  auto confidence = at::rand({count}, generator, at::kDouble);
  confidence[0] = 1;
  confidence[1] = 0;
  return {confidence, at::rand({count}, generator, at::kDouble).lt(confidence)};
}

using dissent::testing::longs;

}  // namespace

TEST(Reliability, EqualsTheCalibrationThatKeepsEverySample) {
  const auto [confidence, right] = made_answers(2000);
  Calibration kept;
  kept.update(confidence, right);
  for (const auto top : {TopBin::kClosed, TopBin::kOwn, TopBin::kDropped})
    for (const int64_t bins : {1, 10, 15}) {
      Reliability state(bins, top);
      state.update(confidence, right);
      EXPECT_NEAR(state.expected_error(), kept.expected_error(bins, top),
                  1e-14);  // 2,000 roundings, partly cancelling
      EXPECT_NEAR(state.largest_error(), kept.largest_error(bins, top), 1e-14);
    }
}

TEST(Reliability, BinsSayWhatIsInThem) {
  Reliability state(2, TopBin::kOwn);
  state.update(at::tensor({0.2, 0.4, 0.5, 1.0}, at::kDouble), longs({1, 0, 1, 0}).ne(0));
  const auto bins = state.finish();
  ASSERT_EQ(bins.size(), 3);
  EXPECT_EQ(bins[0].count, 2);
  EXPECT_DOUBLE_EQ(bins[0].mean_confidence(), 0.3);
  EXPECT_EQ(bins[0].accuracy(), 0.5);
  EXPECT_EQ(bins[1].low, 0.5);
  EXPECT_EQ(bins[1].count, 1);
  EXPECT_EQ(bins[2].low, 1);
  EXPECT_EQ(bins[2].count, 1);
}

TEST(Reliability, SumsOfStatesAreTheWhole) {
  const auto [confidence, right] = made_answers(1000);
  Reliability whole, first, second, merged;
  whole.update(confidence, right);
  first.update(confidence.slice(0, 700), right.slice(0, 700));
  second.update(confidence.slice(0, 0, 700), right.slice(0, 0, 700));
  merged.from_state(first.state() + second.state());
  EXPECT_EQ(merged.expected_error(), whole.expected_error());
  first.merge(second);
  EXPECT_TRUE(at::equal(first.state(), whole.state()));
  expect_error(ErrorKind::kUsage, "expected the same bins", [&] { first.merge(Reliability(10)); });
  expect_error(ErrorKind::kData, "found 1 of 2 NaN", [&] {
    whole.update(at::tensor({0.1, std::nan("")}, at::kDouble), longs({1, 1}).ne(0));
  });
}

TEST(EqualMass, BinsHoldEqualCountsAndTiesShareOne) {
  // Confidences 0.00 .. 0.99, always right: each quarter's gap is 1 - its mean.
  const auto confidence = at::arange(100, at::kDouble) / 100;
  EXPECT_NEAR(equal_mass_error(confidence, at::ones({100}, at::kBool), 4), 1 - 0.495, 1e-14);
  // Half of all at 0.5: quantiles collapse onto it, and one bin takes them.
  const auto tied = at::cat({at::full({50}, 0.5, at::kDouble), at::full({50}, 0.9, at::kDouble)});
  const auto right = at::arange(100).remainder(2).eq(0);  // half of each
  EXPECT_NEAR(equal_mass_error(tied, right, 4), (0.0 + 0.4) / 2, 1e-14);
  EXPECT_EQ(quantile_positions(5, 2), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(quantile_edges({1, 2}, 4, 2), (std::vector<double>{1.5}));
  expect_error(ErrorKind::kData, "expected at least one sample",
               [] { equal_mass_error(at::zeros({0}), at::zeros({0}, at::kBool)); });
}

TEST(Classwise, TwoClassesInClosedForm) {
  // One bin: |share of the class - mean p_c| for each class, both 0.25.
  ClasswiseReliability state(2, 1);
  state.update(at::tensor({0.75, 0.25, /**/ 0.75, 0.25}, at::kDouble).view({2, 2}), longs({0, 0}));
  EXPECT_NEAR(state.expected_error(), 0.25, 1e-15);
  ClasswiseReliability merged(2, 1);
  merged.from_state(state.state() + state.state());
  EXPECT_EQ(merged.expected_error(), state.expected_error());
  expect_error(ErrorKind::kData, "expected probabilities in [0, 1], found 1 of 2",
               [&] { state.update(at::tensor({1.5, 0.2}, at::kDouble).view({1, 2}), longs({0})); });
}

TEST(ClassificationState, GivesTheMetricsOfTheWhole) {
  const auto logits = made_logits(1, 300, 7, 2.0)[0];
  const auto labels = at::arange(300).remainder(7);
  Classification whole(7), parts(7), other(7);
  whole.update(logits, labels);
  parts.update(logits.slice(0, 0, 128), labels.slice(0, 0, 128));
  other.update(logits.slice(0, 128), labels.slice(0, 128));
  parts.from_state(parts.state() + other.state());
  const auto right = logits.argmax(-1).eq(labels);
  EXPECT_EQ(whole.finish("accuracy"), right.to(at::kDouble).mean().item<double>());
  EXPECT_NEAR(whole.finish("nll"), negative_log_likelihood(logits, labels).mean().item<double>(),
              1e-14);
  EXPECT_NEAR(whole.finish("brier"), brier(logits, labels).mean().item<double>(), 1e-14);
  Calibration of_logits;
  of_logits.update(logits.amax(-1), right);
  EXPECT_NEAR(whole.finish("ece", Convention::kOpenood),
              of_logits.expected_error(15, TopBin::kDropped), 1e-14);
  for (const auto& metric : metric_table()) {
    if (metric.needs != std::vector{MetricNeed::kLogits, MetricNeed::kLabels} ||
        metric.name == "ece_equal_mass" || metric.name == "aurc")
      continue;
    for (const auto& convention : metric.conventions) {
      if (convention.convention == Convention::kSed) continue;
      const double value = whole.finish(metric.name, convention.convention),
                   split = parts.finish(metric.name, convention.convention);
      const bool of_batches =
          metric.name == "nll" && (convention.convention == Convention::kSdde ||
                                   convention.convention == Convention::kOpenood);
      EXPECT_TRUE(std::isfinite(value)) << metric.name;
      EXPECT_EQ(value != split, of_batches)
          << metric.name << " " << convention_name(convention.convention);
    }
  }
  expect_error(ErrorKind::kUsage, "found aurc", [&] { whole.finish("aurc"); });
  expect_error(ErrorKind::kUsage, "convention: expected one that defines it, found sed",
               [&] { whole.finish("nll", Convention::kSed); });
  expect_error(ErrorKind::kData, "accuracy: expected at least one sample",
               [] { Classification(3).finish("accuracy"); });
}

TEST(SetMeans, NearAndFarApartAndNoPooling) {
  const std::vector<SetValue> values{{"a", "near", "auroc", 0.5, 10},
                                     {"b", "near", "auroc", 0.7, 90},
                                     {"b", "near", "fpr95", 0.1, 90},
                                     {"c", "far", "auroc", 0.9, 5},
                                     {"d", "covariate", "auroc", 0.2, 5}};
  const auto means = shift_means(values);
  ASSERT_EQ(means.size(), 3);
  EXPECT_EQ(means[0].set, "near mean");
  EXPECT_DOUBLE_EQ(means[0].value, 0.6);
  EXPECT_EQ(means[0].samples, 100);
  EXPECT_EQ(means[1].metric, "fpr95");
  EXPECT_EQ(means[2].value, 0.9);
  EXPECT_TRUE(shift_means(values, {"semantic"}).empty());
}

TEST(SetMeans, FullSpectrumJoinsCovariateShiftToId) {
  const LabelledScores id{at::tensor({0.9, 0.8}, at::kDouble), longs({1, 0}), longs({1, 1})};
  const LabelledScores shifted{at::tensor({0.3}, at::kDouble), longs({2}), longs({2})};
  const auto joined = full_spectrum(id, {shifted, shifted});
  EXPECT_EQ(joined.confidence.size(0), 4);
  Accuracy accuracy;
  accuracy.update(joined.predictions, joined.labels);
  EXPECT_EQ(accuracy.finish(), 0.75);
  expect_error(ErrorKind::kUsage, "predictions: expected [1] Long cpu, found [2]",
               [&] { full_spectrum(id, {{shifted.confidence, longs({1, 2}), longs({1})}}); });
}
