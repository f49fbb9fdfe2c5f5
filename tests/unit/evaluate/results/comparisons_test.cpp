// Files for figures, differences between methods, diversity and metrics that are accumulated:
// against closed forms and the library.
#include <dissent/metrics/bootstrap.hpp>
#include <dissent/metrics/classification.hpp>
#include <dissent/metrics/correct_classification.hpp>
#include <dissent/metrics/diversity.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/scores/ensemble_scores.hpp>
#include <dissent/scores/imagenet_subset.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>

#include "../made_ensemble.hpp"
#include "evaluate/results/comparisons.hpp"
#include "evaluate/results/plot_files.hpp"
#include "evaluate/results/printed_table.hpp"
#include "evaluate/results/result_rows.hpp"
#include "evaluate/values/classwise_error.hpp"
#include "evaluate/values/member_diversity.hpp"
#include "self.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;
constexpr int64_t kComparedMembers = 4, kComparedClasses = 5, kComparedRows = 60;

at::Tensor uniform(at::IntArrayRef shape, uint64_t seed, double low = -3, double high = 3) {
  auto values = at::empty(shape, at::kDouble);
  fill_uniform(values, low, high, Random(seed, Purpose::kNoise));
  return values;
}

LoadedEnsemble named(const std::string& run, const std::string& method, const std::string& hash,
                     int64_t seed) {
  LoadedEnsemble ensemble;
  ensemble.run = run;
  ensemble.method = method;
  ensemble.config_hash = hash;
  ensemble.seed = seed;
  return ensemble;
}

std::vector<LoadedEnsemble> two_methods(const std::string& folder, int64_t seeds) {
  std::vector<LoadedEnsemble> ensembles;
  for (const char* method : {"good", "poor"})
    for (int64_t seed = seeds; seed > 0; --seed) {  // not in the order of the seeds
      auto ensemble = made_ensemble(folder, "mlp", 2, 6, kComparedClasses);
      ensemble.method = method;
      ensemble.seed = seed;
      ensembles.push_back(std::move(ensemble));
    }
  return ensembles;
}

EvaluateOptions comparing(std::vector<std::string> methods) {
  EvaluateOptions options;
  options.compare = std::move(methods);
  options.scores = {"msp"};
  return options;
}

std::vector<PlannedScore> msp() {
  EvaluateConfig config;
  config.evaluate.scores = {"msp"};
  return plan_scores(config);
}

// Blocks of unequal size, as a pass gives them.
SetColumns in_blocks(const ColumnGroup& group, const at::Tensor& logits, const at::Tensor& labels) {
  std::vector<at::Tensor> values;
  const int64_t all = logits.size(1);
  for (int64_t first = 0, rows = 1; first < all; first += rows, rows = 23) {
    rows = std::min(rows, all - first);
    MemberOutputs outputs{logits.narrow(1, first, rows), {}, first};
    values.push_back(group.values(outputs, labels.narrow(0, first, rows)));
    EXPECT_EQ(values.back().size(0), static_cast<int64_t>(group.keys.size()));
  }
  return SetColumns(group.keys, at::cat(values, 1));
}

double value_of_metric(const std::vector<MetricValue>& values, const std::string& name,
                       const std::string& score = "") {
  for (const auto& value : values)
    if (value.metric == name && (score.empty() || value.score == score)) return value.value;
  ADD_FAILURE() << name << ": not found";
  return NAN;
}

}  // namespace

TEST(PlotFiles, TheRocOfThreeAndTwo) {
  // Unknown 3, 2, 0 against known 2, 1: corners by hand; ties move along both axes at once.
  const auto points = roc_points("s", {at::tensor({3.0, 2.0, 0.0}, at::kDouble)},
                                 at::tensor({2.0, 1.0}, at::kDouble));
  const std::vector<std::pair<double, double>> corners{
      {0, 0}, {0, 1.0 / 3}, {0.5, 2.0 / 3}, {1, 2.0 / 3}, {1, 1}};
  ASSERT_EQ(points.size(), corners.size());
  for (size_t i = 0; i < corners.size(); ++i) {
    EXPECT_DOUBLE_EQ(points[i].x, corners[i].first);
    EXPECT_DOUBLE_EQ(points[i].y, corners[i].second);
    EXPECT_EQ(points[i].kind, PlotKind::kRoc);
  }
  EXPECT_EQ(*points[0].area, 3.5 / 6);  // pairs in order, ties one half
  EXPECT_FALSE(points[1].area);
}

// On a straight line there is no corner: 6 thresholds, and 4 of them are ends or bends.
TEST(PlotFiles, TheRocHasItsCornersAlone) {
  const auto points = roc_points("s", {at::tensor({9.0, 8.0, 7.0}, at::kDouble)},
                                 at::tensor({6.0, 5.0, 4.0}, at::kDouble));
  ASSERT_EQ(points.size(), 3u);
  EXPECT_EQ(points[1].x, 0);
  EXPECT_EQ(points[1].y, 1);
  EXPECT_EQ(*points[0].area, 1);
}

double area_below(const std::vector<PlotPoint>& points) {
  double area = 0;
  for (size_t i = 1; i < points.size(); ++i)
    area += (points[i].x - points[i - 1].x) * (points[i].y + points[i - 1].y) / 2;
  return area;
}

// Curve, area in the file and result row are one number, for short curves, long ones, ties, and
// values of the two sets that are far apart.
TEST(PlotFiles, AreasOfRocsAreThoseOfTheResultRows) {
  const auto row = [](const at::Tensor& unknown, const at::Tensor& known) {
    EvaluateOptions options;
    options.metrics = {"auroc", "fpr95"};
    PlannedScore score;
    score.name = "s";
    return value_of_metric(detection_values(known.neg(), unknown.neg(), at::ones_like(known), score,
                                            options, "unknown"),
                           "auroc");
  };
  for (const int64_t size : {3, 50, 900, 5000, 20000})
    for (const double shift : {-2.5, 0.0, 0.7, 2.0}) {
      const auto unknown = uniform({size}, 1, shift, 2 + shift),
                 known = uniform({size / 2}, 2, 0, 2);
      const auto tied = [](const at::Tensor& values) { return (values * 16).round(); };
      for (const auto& [a, b] : {std::pair(unknown, known), {tied(unknown), tied(known)}}) {
        const auto points = roc_points("s", {a}, b);
        EXPECT_LE(points.size(), 2001u);
        EXPECT_EQ(*points[0].area, row(a, b));
        EXPECT_NEAR(area_below(points), *points[0].area, 1e-12) << size << " " << shift;
        EXPECT_EQ(points.front().x + points.front().y, 0);
        EXPECT_EQ(points.back().x + points.back().y, 2);
        for (size_t i = 1; i < points.size(); ++i) {
          EXPECT_GE(points[i].x, points[i - 1].x);
          EXPECT_GE(points[i].y, points[i - 1].y);
        }
      }
    }
}

// As the row of a set of several files is the mean of their figures, however many rows each has.
TEST(PlotFiles, TheRocOfSeveralFilesHasTheMeanOfTheirAreas) {
  const auto known = uniform({400}, 3, 0, 2);
  const std::vector<at::Tensor> files{uniform({90}, 4, 0, 3), uniform({500}, 5, 1, 2),
                                      uniform({7}, 6, -1, 1)};
  double mean = 0;
  for (const auto& file : files) mean += *roc_points("s", {file}, known)[0].area;
  const auto points = roc_points("s", files, known);
  EXPECT_EQ(*points[0].area, mean / 3);
  EXPECT_NEAR(area_below(points), mean / 3, 1e-12);
  EXPECT_EQ(points.back().y, 1);
}

TEST(PlotFiles, TheHistogramCountsEveryNumberOnce) {
  const double inf = HUGE_VAL, nan = NAN;
  const auto points = histogram_points(
      "s", at::tensor({0.0, 0.1, 1.0, 4.0, inf, -inf, 2.05, 2.06, nan}, at::kDouble), 0, 4);
  ASSERT_EQ(points.size(), 5u);  // bins of 0.1; 0 with -inf, 0.1, 1, two of 2.05, 4 with inf
  const std::vector<double> low{0, 0.1, 1, 2, 3.9},
      share{2.0 / 9, 1.0 / 9, 1.0 / 9, 2.0 / 9, 2.0 / 9};  // NaN is in no bin
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_NEAR(*points[i].low, low[i], 1e-12);
    EXPECT_NEAR(*points[i].high, low[i] + 0.1, 1e-12);
    EXPECT_NEAR(points[i].x, low[i] + 0.05, 1e-12);
    EXPECT_DOUBLE_EQ(points[i].y, share[i]);
  }
  EXPECT_EQ(*points.back().high, 4);
}

TEST(PlotFiles, ReliabilityPointsAreTheFilledBins) {
  metrics::Reliability bins(4);
  bins.update(at::tensor({0.3, 0.4, 0.9}, at::kDouble), at::tensor({1, 0, 1}, at::kLong).ne(0));
  const auto points = reliability_points("s", bins.finish());
  ASSERT_EQ(points.size(), 2u);
  EXPECT_NEAR(points[0].x, 0.35, 1e-15);
  EXPECT_EQ(points[0].y, 0.5);
  EXPECT_EQ(*points[0].low, 0.25);
  EXPECT_EQ(*points[0].high, 0.5);
  EXPECT_DOUBLE_EQ(*points[0].weight, 2.0 / 3);
  EXPECT_EQ(points[1].y, 1);
}

// The program's figures are the library's, bit for bit, under every convention: of which metrics
// the batches' means are averaged (nll of sdde and openood, never brier) is said once, in the
// table.
TEST(LabelValues, AreThoseOfTheLibraryUnderEveryConvention) {
  const auto labels = at::arange(kComparedRows).remainder(kComparedClasses);
  Predictor single;
  single.name = "member:0";
  single.units = {0};
  const std::vector<int64_t> units{0};
  // Sharp, so that some confidences are 1 in f32; all right in the second.
  const auto drawn = (uniform({kComparedRows, kComparedClasses}, 9) * 8).to(at::kFloat),
             right = (at::one_hot(labels, kComparedClasses) * 40).to(at::kFloat);
  int compared = 0;
  for (const auto& logits : {drawn, right})
    for (const auto& [convention_name, convention] : metrics::convention_names()) {
      EvaluateOptions options;
      options.convention = convention;
      options.batch_rows = 23;  // the last batch has 14 rows
      options.metrics.clear();
      for (const auto& metric : metrics::metric_table())
        if (is_label_metric(metric) && metric.has_convention(convention) &&
            metric.name != "ece_equal_mass" && metric.name != "aurc")
          options.metrics.push_back(metric.name);
      auto columns =
          in_blocks(label_columns(units, single, options, {}), logits.unsqueeze(0), labels);
      ClasswiseErrors classwise(kComparedClasses, options);
      in_blocks(classwise.group(units, single, {}), logits.unsqueeze(0), labels);
      classwise.finish(*self, columns);
      metrics::Classification library(kComparedClasses);
      for (int64_t first = 0; first < kComparedRows; first += options.batch_rows) {
        const auto rows = std::min(options.batch_rows, kComparedRows - first);
        library.update(logits.narrow(0, first, rows), labels.narrow(0, first, rows));
      }
      for (const auto& value : label_values(columns, single.name, options)) {
        EXPECT_EQ(value.value, library.finish(value.metric, convention))
            << value.metric << " " << convention_name;
        EXPECT_GE(value.value, 0) << value.metric << " " << convention_name;
        ++compared;
      }
    }
  EXPECT_EQ(compared, 2 * (7 + 5 + 4 + 1 + 6));
}

// What is printed fits the terminal, says each set once, and has every value.
TEST(PrintedTable, FitsTheTerminal) {
  std::vector<ResultRow> rows;
  const auto add = [&](const std::string& run, const std::string& predictor, const std::string& set,
                       const std::string& shift, const std::string& score,
                       const std::string& metric, double value) {
    ResultRow row;
    row.run = run, row.predictor = predictor, row.dataset = set, row.shift = shift;
    row.split = "test", row.score = score, row.metric = metric, row.value = value;
    row.method = "a2d", row.config_hash = "h";
    rows.push_back(row);
  };
  for (const char* run : {"seed-1", "seed-2"})
    for (const char* predictor : {"ensemble", "member:0"}) {
      for (const char* metric : {"accuracy", "accuracy_top5", "nll", "brier", "ece", "ece_max",
                                 "ece_equal_mass", "ece_classwise", "aurc"})
        add(run, predictor, "cifar10", "id", "", metric, 0.25);
      add(run, predictor, "cifar10", "id", "temperature", "nll", 1.5);
      for (const char* score : {"msp", "average_max_logit", "mutual_information"})
        for (const char* metric : {"auroc", "aupr_in", "aupr_out", "average_precision_in", "fpr95"})
          add(run, predictor, "svhn", "far", score, metric, 1e-7);
    }
  add("", "a2d - de", "svhn", "far", "msp", "auroc_difference", 0.01);
  add("", "a2d - de", "svhn", "far", "msp", "auroc_difference_low", -0.01);
  add("", "a2d - de", "svhn", "far", "msp", "auroc_difference_high", 0.02);
  for (const int64_t columns : {80, 100, 200}) {
    const auto text = printed_table(rows, columns);
    size_t values = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      EXPECT_LE(end - at, static_cast<size_t>(columns));
      at = end + 1;
    }
    for (const char* value : {" 0.2500", " 1.5000", " 1.00e-07"})
      for (size_t at = text.find(value); at != std::string::npos; at = text.find(value, at + 1))
        ++values;
    EXPECT_EQ(values, rows.size() - 3) << text;
    EXPECT_EQ(text.find("cifar10 (id)"), text.rfind("cifar10 (id)"));
    EXPECT_NE(text.find("\nsvhn (far)\n"), std::string::npos) << text;
    EXPECT_NE(text.find("+0.0100  -0.0100 .. +0.0200  auroc_difference msp svhn"),
              std::string::npos);
  }
}

TEST(LabelValues, DiversityNamesTheConventionThatItHas) {
  TempFolder folder(*self);
  const auto ensemble = made_ensemble(folder.path(), "mlp", 2, 6, kComparedClasses);
  EvaluateOptions options;
  Choices choices;
  PredictorSet predictors;
  const auto of = [&](const std::string& convention, const std::string& name) {
    options.convention = metrics::find_convention(convention);
    return ensemble_rows({ensemble, options, choices, predictors, false},
                         {{name, "diversity", 1, 9}}, {"mnist", Shift::kId})[0]
        .convention;
  };
  EXPECT_EQ(of("sed", "kl"), "sklearn");  // sed has another one, which is not computed
  EXPECT_EQ(of("sdde", "q_statistic"), "sklearn");
  EXPECT_EQ(of("torch_uncertainty", "disagreement"), "torch_uncertainty");
  EXPECT_EQ(of("sed", "pds"), "sed");  // the mean of a score, of the batches' means
}

TEST(PlotFiles, NamesTellRunsApartAndAreNoLongerThanNeeded) {
  EXPECT_EQ(file_part("mnist: 5/6 a+b_c.d"), "mnist--5-6-a+b_c.d");
  const std::vector<LoadedEnsemble> ensembles{
      named("x", "a2d", "h1", 1),     named("seed-1", "a2d", "h1", 1),
      named("seed-1", "ce", "h2", 1), named("seed-1", "ce", "h3", 1),
      named("s", "ce", "h3", 1),      named("s", "ce", "h3", 2),
      named("x y", "b", "h", 1),      named("x-y", "b", "h", 1)};
  EXPECT_EQ(file_names(ensembles),
            (std::vector<std::string>{"x", "a2d-seed-1", "ce-seed-1-h2", "ce-seed-1-h3", "s-1",
                                      "s-2", "x-y", "x-y+"}));
  EXPECT_EQ(run_labels({{"r", "a", "h", 1}, {"r", "b", "h", 1}, {"r", "b", "h", 1}}),
            (std::vector<std::string>{"a/r", "b/r", "b/r"}));
}

TEST(MemberDiversity, BlocksGiveTheFiguresOfTheWholeSet) {
  const auto logits = uniform({kComparedMembers, kComparedRows, kComparedClasses}, 5),
             labels = at::arange(kComparedRows).remainder(kComparedClasses);
  metrics::Diversity whole(kComparedMembers);
  whole.update(logits, labels);
  const auto expected = whole.finish();
  const std::vector<std::string> names{"pds",
                                       "jensen_shannon",
                                       "kl",
                                       "disagreement",
                                       "q_statistic",
                                       "double_fault",
                                       "different_predictions",
                                       "mutual_information"};
  EvaluateOptions options;
  options.diversity = names;
  MemberDiversity collected(kComparedMembers, options, true, "");
  const auto columns = in_blocks(collected.group(all_of(kComparedMembers)), logits, labels);
  const auto rows = collected.finish(*self, columns);
  ASSERT_EQ(rows.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(rows[i].metric, "diversity");
    EXPECT_EQ(rows[i].score, names[i]);
    EXPECT_EQ(rows[i].n, kComparedRows);
  }
  const std::vector<double> values{expected.jensen_shannon, expected.kl, expected.disagreement,
                                   expected.q_statistic, expected.double_fault};
  for (size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(rows[i + 1].value, values[i]) << names[i + 1];  // the same bits
  EXPECT_EQ(rows[7].value, expected.mutual_information);
  EXPECT_NEAR(rows[0].value, scores::pds(logits, scores::InputKind::kLogits).mean().item<double>(),
              1e-12);
  EXPECT_NEAR(rows[6].value,
              scores::different_predictions(logits, scores::InputKind::kLogits)
                  .to(at::kDouble)
                  .mean()
                  .item<double>(),
              1e-12);
  MemberDiversity unlabelled(kComparedMembers, options, false, "");
  const auto without =
      in_blocks(unlabelled.group(all_of(kComparedMembers)), logits, at::full_like(labels, -1));
  EXPECT_EQ(unlabelled.finish(*self, without).size(),
            names.size() - 2);  // right and wrong are not known
}

TEST(MemberDiversity, AsSedReleasedItReadsVotesAndAveragesBatches) {
  constexpr int64_t kRows = 7;
  const auto logits = uniform({2, kRows, 1000}, 8) * 20, labels = at::zeros({kRows}, at::kLong);
  EvaluateOptions options;
  options.convention = metrics::Convention::kSed;
  options.batch_rows = 3;
  options.diversity = {"pds"};
  const auto of = [&](const std::string& classes) {
    MemberDiversity collected(2, options, false, classes);
    const auto columns = in_blocks(collected.group(all_of(2)), logits, labels);
    return collected.finish(*self, columns)[0].value;
  };
  const auto by_batch = [&](const at::Tensor& values) {
    return (values.narrow(0, 0, 3).mean() + values.narrow(0, 3, 3).mean() + values[6])
               .item<double>() /
           3;
  };
  EXPECT_NEAR(of(""), by_batch(scores::pds(logits, scores::InputKind::kLogits).to(at::kDouble)),
              1e-12);
  // Of a vote inside the 200 classes 1, outside 0: the number of different classes voted for.
  const auto& subset = scores::imagenet_subset("imagenet_a");
  std::vector<double> votes;
  for (int64_t row = 0; row < kRows; ++row) {
    std::set<int64_t> classes;
    for (int64_t m = 0; m < 2; ++m)
      classes.insert(
          subset.output_of_class[logits[m][row].argmax().item<int64_t>()].item<int64_t>());
    classes.erase(-1);
    votes.push_back(static_cast<double>(classes.size()));
  }
  EXPECT_NEAR(of("imagenet_a"), by_batch(at::tensor(votes, at::kDouble)), 1e-12);
}

TEST(ClasswiseErrors, BlocksGiveTheErrorOfTheWholeSetBeforeAndAfterATemperature) {
  const auto logits = uniform({kComparedMembers, kComparedRows, kComparedClasses}, 6),
             labels = at::arange(kComparedRows).remainder(kComparedClasses);
  EvaluateOptions options;
  options.metrics = {"ece_classwise", "accuracy"};
  options.bins = 7;
  const Predictor all{"ensemble", all_of(kComparedMembers), true};
  Calibrators calibrators;
  calibrators.temperature = 2.5;
  ClasswiseErrors errors(kComparedClasses, options);
  in_blocks(errors.group(all_of(kComparedMembers), all, calibrators), logits, labels);
  SetColumns columns({{ColumnKind::kCorrect, "ensemble"},
                      {ColumnKind::kNll, "ensemble"},
                      {ColumnKind::kConfidence, "ensemble"},
                      {ColumnKind::kNll, "ensemble", Scaling::kTemperature},
                      {ColumnKind::kConfidence, "ensemble", Scaling::kTemperature}},
                     at::full({5, kComparedRows}, 0.5, at::kDouble));
  errors.finish(*self, columns);
  const auto values = label_values(columns, "ensemble", options);
  const auto of = [&](double temperature) {
    metrics::ClasswiseReliability bins(kComparedClasses, 7);
    bins.update(at::softmax(logits.mean(0) / temperature, 1), labels);
    return bins.expected_error();
  };
  EXPECT_NEAR(value_of_metric(values, "ece_classwise"), of(1), 1e-12);
  EXPECT_NEAR(value_of_metric(values, "ece_classwise", "temperature"), of(2.5), 1e-12);
  EXPECT_GT(std::abs(of(1) - of(2.5)), 0.01);
}

// Of both orientations of a score; and by hand: 6 of 10 known inputs are right, 4 of them above 9
// of the 10 unknown ones.
TEST(DetectionValues, CorrectClassificationRatesAreThoseOfTheLibrary) {
  EvaluateOptions options;
  options.metrics = {"auroc", "ccr1", "ccr2"};
  EvaluateConfig config;
  config.evaluate.scores = {"msp", "pds"};
  for (const auto& score : plan_scores(config)) {
    const auto known = uniform({80}, 7), unknown = uniform({50}, 8),
               right = uniform({80}, 9).gt(-1).to(at::kDouble);
    const double sign = score.larger_for_id(metrics::Convention::kSklearn) ? 1 : -1;
    metrics::CorrectClassification expected;
    expected.update(known * sign, at::where(right.ne(0), 0, 1).to(at::kLong),
                    at::zeros({80}, at::kLong));
    expected.update(unknown * sign, at::zeros({50}, at::kLong), at::full({50}, -1, at::kLong));
    const auto values = detection_values(known, unknown, right, score, options, "ood");
    EXPECT_EQ(value_of_metric(values, "ccr1"), expected.finish(0.1)) << score.name;
    EXPECT_EQ(value_of_metric(values, "ccr2"), expected.finish(0.01)) << score.name;
    EXPECT_EQ(values.size(), 3u);
  }
  options.metrics = {"ccr1"};
  const auto right = at::tensor({1, 1, 1, 1, 1, 1, 0, 0, 0, 0}, at::kDouble);
  const auto known = at::tensor({9.5, 9.6, 9.7, 9.8, 1.0, 9.0, 9.9, 9.9, 0.0, 0.0}, at::kDouble),
             unknown = at::arange(10).to(at::kDouble);  // threshold: 9
  EXPECT_DOUBLE_EQ(
      value_of_metric(detection_values(known, unknown, right, msp()[0], options, "ood"), "ccr1"),
      0.4);
}

TEST(Comparison, WhatCannotBeComparedIsRefused) {
  const TempFolder folder(*self);
  auto ensembles = two_methods(folder.path(), 2);
  const auto refusal = [&](const std::vector<std::string>& methods) {
    return error_of(ErrorKind::kUsage, [&] { check_comparison(ensembles, comparing(methods)); });
  };
  EXPECT_NO_THROW(check_comparison(ensembles, comparing({"*"})));
  EXPECT_NO_THROW(check_comparison(ensembles, comparing({})));
  EXPECT_CONTAINS(refusal({"good", "gud"}),
                  "expected methods of the loaded runs (good, poor), found \"gud\"");
  EXPECT_CONTAINS(refusal({"good"}), "at least two methods");
  ensembles.back().seed = 7;
  EXPECT_CONTAINS(refusal({"*"}),
                  "expected the same seeds for all methods, found 1, 2 for good and 2, 7 for poor");
  ensembles.pop_back();
  EXPECT_CONTAINS(refusal({"*"}), "found 1, 2 for good and 2 for poor");
  ensembles.pop_back();
  EXPECT_CONTAINS(refusal({"*"}), "at least two methods, found good");
}

TEST(Comparison, TheBetterMethodHasAPositiveDifferenceInItsInterval) {
  const TempFolder folder(*self);
  const auto ensembles = two_methods(folder.path(), 2);
  std::vector<std::vector<SetScores>> sets;
  for (size_t e = 0; e < ensembles.size(); ++e) {
    const bool good = ensembles[e].method == "good";
    const auto draw = [&](uint64_t seed) {
      return uniform({200}, 10 * seed + static_cast<uint64_t>(ensembles[e].seed), 0, 1);
    };
    sets.push_back({{"id",
                     Shift::kId,
                     draw(1).lt(good ? 0.9 : 0.6).to(at::kDouble),
                     {draw(2) + (good ? 0.5 : 0.1)}},
                    {"ood", Shift::kFar, {}, {draw(3)}}});
  }
  const auto options = comparing({"*"});
  const auto rows = comparison_rows(ensembles, sets, msp(), options);
  ASSERT_EQ(rows.size(), 6u);
  for (size_t i = 0; i < rows.size(); i += 3) {
    EXPECT_GT(rows[i].value, 0);
    EXPECT_GT(rows[i + 1].value, 0);  // far apart
    EXPECT_LT(rows[i + 1].value, rows[i].value);
    EXPECT_GT(rows[i + 2].value, rows[i].value);
    EXPECT_EQ(rows[i].predictor, "good - poor");
    EXPECT_EQ(rows[i + 1].metric, rows[i].metric + "_low");
    EXPECT_EQ(rows[i + 2].metric, rows[i].metric + "_high");
  }
  // By hand: the mean over seeds of the differences; scores that are larger in distribution count
  // from the other side.
  const auto right = [&](size_t e) { return sets[e][0].correct.mean().item<double>(); };
  EXPECT_NEAR(rows[0].value, (right(0) + right(1) - right(2) - right(3)) / 2, 1e-12);
  const auto auroc = [&](size_t e) {
    return sets[e][0]
        .scores[0]
        .unsqueeze(1)
        .gt(sets[e][1].scores[0])
        .to(at::kDouble)
        .mean()
        .item<double>();
  };
  EXPECT_NEAR(rows[3].value, (auroc(0) + auroc(1) - auroc(2) - auroc(3)) / 2, 1e-12);
  EXPECT_EQ(rows[3].n, 400);
  const auto turned = comparison_rows(ensembles, sets, msp(), comparing({"poor", "good"}));
  EXPECT_NEAR(turned[0].value, -rows[0].value, 1e-12);
  EXPECT_EQ(turned[0].predictor, "poor - good");
}
