#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/metrics/registry.hpp>

namespace dissent::metrics {
namespace {

using enum MetricNeed;
using enum Better;
using enum Convention;

constexpr auto kSddePaper =
    "Dereka et al., Diversifying Deep Ensembles: A Saliency Map Approach for Enhanced OOD "
    "Detection, Calibration, and Accuracy, arXiv 2305.11616, 2023";
constexpr auto kGuo = "Guo et al., On Calibration of Modern Neural Networks, 2017";
constexpr auto kOpenOod =
    "Yang et al., OpenOOD: Benchmarking Generalized Out-of-Distribution Detection, 2022";
constexpr auto kKuncheva =
    "Kuncheva and Whitaker, Measures of Diversity in Classifier Ensembles and Their Relationship "
    "with the Ensemble Accuracy, 2003";
constexpr auto kDepeweg =
    "Depeweg et al., Decomposition of Uncertainty in Bayesian Deep Learning, 2018";
constexpr auto kRomano = "Romano et al., Classification with Valid and Adaptive Coverage, 2020";
constexpr auto kAngelopoulos =
    "Angelopoulos et al., Uncertainty Sets for Image Classifiers using Conformal Prediction, 2021";

std::vector<MetricInfo> classification_rows() {
  const std::vector<MetricNeed> needs{kLogits, kLabels};
  return {
      // Accuracy
      {Metric::kAccuracy,
       "accuracy",
       "share of correct predictions",
       needs,
       kHigher,
       "",
       {{kSklearn, ""},
        {kSdde, ""},
        {kOpenood, ""},
        {kSed, "one-hot votes on ImageNet-A and -R; best member chosen on the test set"},
        {kTorchUncertainty, ""}}},
      {Metric::kAccuracyTop5,
       "accuracy_top5",
       "share of samples whose label is among the five largest logits",
       needs,
       kHigher,
       "",
       {{kSklearn, ""}, {kTorchUncertainty, ""}}},

      // Proper scoring rules
      {Metric::kNll,
       "nll",
       "mean over samples of -log p_y, nats",
       needs,
       kLower,
       "",
       {{kSklearn, ""},
        {kSdde, "mean of the batch means: a short last batch counts as much as a full one", true},
        {kOpenood, "as sdde", true},
        {kTorchUncertainty, ""}}},
      {Metric::kBrier,
       "brier",
       "mean over samples of sum_c (p_c - [c = y])^2, 0 .. 2",
       needs,
       kLower,
       "Brier, Verification of Forecasts Expressed in Terms of Probability, 1950",
       {{kSklearn, ""}, {kSdde, ""}, {kTorchUncertainty, ""}}},

      // Calibration errors
      {Metric::kEce,
       "ece",
       "sum over 15 bins of equal width [a, b), the last closed, of share * |accuracy - mean "
       "confidence|",
       needs,
       kLower,
       kGuo,
       {{kSklearn,
         "bins as in sklearn.calibration.calibration_curve, except that a confidence on an edge "
         "belongs to the upper bin"},
        {kSdde, "a confidence of 1 is in no bin, and shares are relative to the binned samples"},
        {kOpenood, "as sdde, with the largest LOGIT in place of the confidence"},
        {kTorchUncertainty, "a confidence of 1 has its own bin (torchmetrics)"}}},
      {Metric::kEceMax,
       "ece_max",
       "largest |accuracy - mean confidence| over the filled bins of ece",
       needs,
       kLower,
       kGuo,
       {{kSklearn, ""},
        {kSdde, "as in ece"},
        {kOpenood, "as in ece"},
        {kTorchUncertainty, "as in ece"}}},
      {Metric::kEceEqualMass,
       "ece_equal_mass",
       "ece over bins (a, b] between the quantiles i / 15 of the confidences",
       needs,
       kLower,
       "Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language "
       "Processing Models, 2015",
       {{kSklearn, "quantiles and bins of calibration_curve(strategy='quantile')"}}},
      {Metric::kEceClasswise,
       "ece_classwise",
       "mean over classes of the ece of p_c against [y = c]",
       needs,
       kLower,
       "Kull et al., Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class "
       "Probabilities with Dirichlet Calibration, 2019",
       {{kSklearn, ""}}},

      // Selective classification
      {Metric::kAurc,
       "aurc",
       "mean over k of the share of errors among the k most confident samples; tied samples count "
       "with their mean over all orders",
       needs,
       kLower,
       "Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, 2017",
       {{kSklearn, ""},
        {kTorchUncertainty, "trapezoid over coverages 1/N .. 1, divided by 1 - 1/N"}}},
  };
}

MetricInfo ccr_row(int exponent) {
  return {
      .id = static_cast<Metric>(static_cast<int>(Metric::kCcr1) + exponent - 1),
      .name = fmt::format("ccr{}", exponent),
      .meaning = fmt::format("share of ID samples that are predicted correctly and are strictly "
                             "more confident than all but 1e-{} of the OOD samples",
                             exponent),
      .needs = {kLogits, kLabels, kOodScores},
      .better = kHigher,
      .citation = kOpenOod,
      .conventions = {{kSklearn, ""}, {kOpenood, ""}}};
}

std::vector<MetricInfo> detection_rows() {
  const std::vector<MetricNeed> needs{kOodScores};
  std::vector<MetricInfo> rows{
      // Areas
      {Metric::kAuroc,
       "auroc",
       "probability that an OOD sample scores above an ID sample, ties one half",
       needs,
       kHigher,
       "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution "
       "Examples in Neural Networks, 2017",
       {{kSklearn, ""},
        {kSdde, ""},
        {kOpenood, ""},
        {kSed, "positive class as released, which gives 1 - AUROC for two scores (scores.md)"},
        {kTorchUncertainty, ""}}},
      {Metric::kAuprIn,
       "aupr_in",
       "trapezoid area under the precision-recall curve, ID positive",
       needs,
       kHigher,
       kSddePaper,
       {{kSklearn, "auc(recall, precision) of precision_recall_curve"},
        {kSdde, "OOD positive"},
        {kOpenood, ""}}},
      {Metric::kAuprOut,
       "aupr_out",
       "the same, OOD positive",
       needs,
       kHigher,
       kSddePaper,
       {{kSklearn, ""},
        {kSdde, "ID positive"},
        {kOpenood, ""},
        {kTorchUncertainty, "average precision, OOD positive"}}},
      {Metric::kAveragePrecisionIn,
       "average_precision_in",
       "sum over thresholds of recall steps times precision, ID positive",
       needs,
       kHigher,
       "",
       {{kSklearn, "average_precision_score"}}},
      {Metric::kAveragePrecisionOut,
       "average_precision_out",
       "the same, OOD positive",
       needs,
       kHigher,
       "",
       {{kSklearn, "average_precision_score"}, {kTorchUncertainty, ""}}},

      // Rates at a recall
      {Metric::kFpr95,
       "fpr95",
       "share of ID samples at the largest threshold that recalls at least 95 % of the OOD samples",
       needs,
       kLower,
       "Liang et al., Enhancing The Reliability of Out-of-distribution Image Detection in Neural "
       "Networks, 2018",
       {{kSklearn, "roc_curve(drop_intermediate=False)"},
        {kSdde, "only at the ROC points that roc_curve keeps by default: can be larger"},
        {kOpenood, "as sdde"},
        {kTorchUncertainty, "at the recall nearest to 95 %"}}},
      {Metric::kFpr95In,
       "fpr95_in",
       "share of OOD samples at the largest threshold that recalls at least 95 % of the ID samples",
       needs,
       kLower,
       "Liang et al., Enhancing The Reliability of Out-of-distribution Image Detection in Neural "
       "Networks, 2018",
       {{kSklearn, ""}}},
  };
  for (const int exponent : {1, 2, 3, 4}) rows.push_back(ccr_row(exponent));
  return rows;
}

std::vector<MetricInfo> diversity_rows() {
  const std::vector<MetricNeed> outputs{kMemberLogits}, both{kMemberLogits, kLabels};
  const std::vector<MetricConvention> sklearn_only{{kSklearn, ""}};
  return {
      // From predictions and probabilities
      {Metric::kDisagreement,
       "disagreement",
       "share of (pair of members, sample) with different predictions",
       outputs,
       kHigher,
       kKuncheva,
       {{kSklearn, ""}, {kTorchUncertainty, ""}}},
      {Metric::kKl,
       "kl",
       "mean over ordered pairs and samples of KL(p_i || p_j), nats",
       outputs,
       kHigher,
       "",
       {{kSklearn, ""},
        {kSed,
         "minus the mean over pairs i < j of KL(p_j || p_i) with 1e-8 added, mean of batch values "
         "(kl_divergence)",
         true}}},
      {Metric::kJensenShannon, "jensen_shannon",
       "mean over pairs and samples of the Jensen-Shannon divergence, nats", outputs, kHigher,
       "Lin, Divergence Measures Based on the Shannon Entropy, 1991", sklearn_only},
      {Metric::kVariance,
       "variance",
       "mean over samples and classes of the variance over members of p (M - 1)",
       outputs,
       kHigher,
       "",
       {{kSklearn, ""}, {kSed, "minus this value, mean of batch values", true}}},
      {Metric::kMutualInformation,
       "mutual_information",
       "mean entropy of the mean prediction minus mean entropy of the members, nats",
       outputs,
       kHigher,
       kDepeweg,
       {{kSklearn, ""}, {kTorchUncertainty, ""}}},
      {Metric::kTotalEntropy,
       "total_entropy",
       "mean entropy of the mean prediction, nats",
       outputs,
       kNeither,
       kDepeweg,
       {{kSklearn, ""}, {kTorchUncertainty, ""}}},
      {Metric::kMemberEntropy, "member_entropy", "mean entropy of the members, nats", outputs,
       kNeither, kDepeweg, sklearn_only},

      // From correct and wrong predictions
      {Metric::kQStatistic, "q_statistic",
       "mean over pairs of (ad - bc) / (ad + bc), with a: both correct, b and c: only one correct, "
       "d: both wrong; pairs with 0 / 0 are omitted",
       both, kLower, "Yule, On the Association of Attributes in Statistics, 1900", sklearn_only},
      {Metric::kCorrelation, "correlation",
       "mean over pairs of (ad - bc) / sqrt((a+b)(c+d)(a+c)(b+d)), with the same a, b, c, d", both,
       kLower, kKuncheva, sklearn_only},
      {Metric::kDoubleFault, "double_fault",
       "mean over pairs of the share of samples that both predict wrongly", both, kLower,
       "Giacinto and Roli, Design of Effective Neural Network Ensembles, 2001", sklearn_only},
      {Metric::kUnequalSuccess, "unequal_success",
       "mean over pairs of the share of samples that exactly one predicts correctly", both, kHigher,
       "Skalak, The Sources of Increased Accuracy for Two Proposed Boosting Algorithms, 1996",
       sklearn_only},
  };
}

std::vector<MetricInfo> conformal_rows() {
  const std::vector<MetricNeed> needs{kLogits, kLabels, kCalibrationSet};

  // None of the other programs reports prediction sets.
  const std::vector<MetricConvention> sklearn_only{{kSklearn, ""}};
  return {
      {Metric::kApsCoverage, "aps_coverage",
       "share of samples whose label is in the adaptive prediction set calibrated for 90 %", needs,
       kNeither, kRomano, sklearn_only},
      {Metric::kApsSize, "aps_size", "mean number of classes in these sets", needs, kLower, kRomano,
       sklearn_only},
      {Metric::kRapsCoverage, "raps_coverage",
       "share of samples whose label is in the regularised adaptive prediction set calibrated for "
       "90 %",
       needs, kNeither, kAngelopoulos, sklearn_only},
      {Metric::kRapsSize, "raps_size", "mean number of classes in these sets", needs, kLower,
       kAngelopoulos, sklearn_only},
  };
}

std::vector<MetricInfo> make_metric_table() {
  std::vector<MetricInfo> table;
  for (auto rows : {classification_rows(), detection_rows(), diversity_rows(), conformal_rows()})
    for (auto& row : rows) table.push_back(std::move(row));
  return table;
}

}  // namespace

std::string metric_need_name(MetricNeed need) {
  switch (need) {
    case kLogits: return "logits";
    case kLabels: return "labels";
    case kMemberLogits: return "members' logits";
    case kOodScores: return "OOD scores";
    case kCalibrationSet: return "calibration set";
  }
  DISSENT_FAIL(kInternal, "need {} has no name", static_cast<int>(need));
}

const MetricConvention* MetricInfo::find_convention(Convention convention) const {
  for (const auto& entry : conventions)
    if (entry.convention == convention) return &entry;
  return nullptr;
}

bool MetricInfo::has_convention(Convention convention) const {
  return find_convention(convention) != nullptr;
}

bool MetricInfo::has_default_definition(Convention convention) const {
  const auto* entry = find_convention(convention);
  return entry && entry->meaning.empty();
}

bool MetricInfo::averages_batches(Convention convention) const {
  const auto* entry = find_convention(convention);
  return entry && entry->batch_means;
}

bool MetricInfo::needs_input(MetricNeed need) const {
  return std::find(needs.begin(), needs.end(), need) != needs.end();
}

const std::vector<MetricInfo>& metric_table() {
  static const std::vector<MetricInfo> table = make_metric_table();
  return table;
}

const MetricInfo& find_metric(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& metric : metric_table()) {
    if (metric.name == name) return metric;
    known.push_back(metric.name);
  }
  DISSENT_FAIL(kUsage, "metric: expected one of {}, found '{}'", fmt::join(known, ", "), name);
}

const std::vector<std::pair<std::string, Convention>>& convention_names() {
  static const std::vector<std::pair<std::string, Convention>> names{
      {"sklearn", kSklearn},
      {"sdde", kSdde},
      {"openood", kOpenood},
      {"sed", kSed},
      {"torch_uncertainty", kTorchUncertainty}};
  return names;
}

const std::string& convention_name(Convention convention) {
  for (const auto& [name, value] : convention_names())
    if (value == convention) return name;
  DISSENT_FAIL(kInternal, "convention {} has no name", static_cast<int>(convention));
}

Convention find_convention(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [known_name, value] : convention_names()) {
    if (known_name == name) return value;
    known.push_back(known_name);
  }
  DISSENT_FAIL(kUsage, "convention: expected one of {}, found '{}'", fmt::join(known, ", "), name);
}

void check_convention(const MetricInfo& metric, Convention convention) {
  DISSENT_CHECK(metric.has_convention(convention), kUsage,
                "metric {}: convention: expected one that defines it, found {}", metric.name,
                convention_name(convention));
}

double detection_value(const RankingValues& values, const std::string& metric,
                       Convention convention) {
  const auto& info = find_metric(metric);
  check_convention(info, convention);

  // Each program reads the false-positive rate at other points of the ROC curve (RankingSide).
  const auto fpr = [&](const RankingSide& side) {
    const auto& at_recalls = convention == kTorchUncertainty                 ? side.fpr_nearest
                             : convention == kSdde || convention == kOpenood ? side.fpr_dropped
                                                                             : side.fpr;
    DISSENT_CHECK(at_recalls.size() == 1, kUsage,
                  "detection_value: values: expected one recall, found {}", at_recalls.size());
    return at_recalls[0];
  };

  // OOD samples are the positive class. SDDE names the areas by the other class, and
  // torch-uncertainty reports average precision as the area.
  const auto &id = values.negative, &ood = values.positive;
  switch (info.id) {
    case Metric::kAuroc: return values.auroc;
    case Metric::kAuprIn: return convention == kSdde ? ood.aupr : id.aupr;
    case Metric::kAuprOut:
      if (convention == kTorchUncertainty) return ood.average_precision;
      return convention == kSdde ? id.aupr : ood.aupr;
    case Metric::kAveragePrecisionIn: return id.average_precision;
    case Metric::kAveragePrecisionOut: return ood.average_precision;
    case Metric::kFpr95: return fpr(ood);
    case Metric::kFpr95In: return fpr(id);
    default:
      DISSENT_FAIL(kUsage,
                   "detection_value: metric: expected one that is computed from scores alone, "
                   "found {}",
                   metric);
  }
}

}  // namespace dissent::metrics
