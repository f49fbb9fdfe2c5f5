#include <dissent/error.hpp>
#include <dissent/metrics/registry.hpp>

namespace dissent::metrics {
namespace {

using enum MetricNeed;
using enum Better;

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
      {"accuracy",
       "share of right predictions",
       needs,
       kHigher,
       "",
       {{"sklearn", ""},
        {"sdde", ""},
        {"openood", ""},
        {"sed", "one-hot votes on ImageNet-A and -R; best member chosen on the test set"},
        {"torch_uncertainty", ""}}},
      {"accuracy_top5",
       "share of samples whose label is among the five largest logits",
       needs,
       kHigher,
       "",
       {{"sklearn", ""}, {"torch_uncertainty", ""}}},
      {"nll",
       "mean over samples of -log p_y, nats",
       needs,
       kLower,
       "",
       {{"sklearn", ""},
        {"sdde", "mean of the batches' means: a short last batch counts as much as a full one",
         true},
        {"openood", "as sdde", true},
        {"torch_uncertainty", ""}}},
      {"brier",
       "mean over samples of sum_c (p_c - [c = y])^2, 0 .. 2",
       needs,
       kLower,
       "Brier, Verification of Forecasts Expressed in Terms of Probability, 1950",
       {{"sklearn", ""}, {"sdde", ""}, {"torch_uncertainty", ""}}},
      {"ece",
       "sum over 15 bins of equal width [a, b), the last closed, of share * |accuracy - mean "
       "confidence|",
       needs,
       kLower,
       kGuo,
       {{"sklearn",
         "bins as in sklearn.calibration.calibration_curve, but for a confidence on an edge, which "
         "belongs to the upper bin"},
        {"sdde", "a confidence of 1 is in no bin, and shares are of what is binned"},
        {"openood", "as sdde, and the largest LOGIT stands for the confidence"},
        {"torch_uncertainty", "a confidence of 1 has a bin of its own (torchmetrics)"}}},
      {"ece_max",
       "largest |accuracy - mean confidence| over the filled bins of ece",
       needs,
       kLower,
       kGuo,
       {{"sklearn", ""},
        {"sdde", "as in ece"},
        {"openood", "as in ece"},
        {"torch_uncertainty", "as in ece"}}},
      {"ece_equal_mass",
       "ece over bins (a, b] between the quantiles i / 15 of the confidences",
       needs,
       kLower,
       "Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language "
       "Processing Models, 2015",
       {{"sklearn", "quantiles and bins of calibration_curve(strategy='quantile')"}}},
      {"ece_classwise",
       "mean over classes of the ece of p_c against [y = c]",
       needs,
       kLower,
       "Kull et al., Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class "
       "Probabilities with Dirichlet Calibration, 2019",
       {{"sklearn", ""}}},
      {"aurc",
       "mean over k of the share of errors among the k most confident samples; ties count with "
       "their mean over all orders",
       needs,
       kLower,
       "Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, 2017",
       {{"sklearn", ""},
        {"torch_uncertainty", "trapezoid over coverages 1/N .. 1, divided by 1 - 1/N"}}},
  };
}

MetricInfo ccr_row(int exponent) {
  return {.name = fmt::format("ccr{}", exponent),
          .meaning = fmt::format("share of ID samples that are right and more confident than all "
                                 "but 1e-{} of the OOD samples (strictly)",
                                 exponent),
          .needs = {kLogits, kLabels, kOodScores},
          .better = kHigher,
          .citation = kOpenOod,
          .conventions = {{"sklearn", ""}, {"openood", ""}}};
}

std::vector<MetricInfo> detection_rows() {
  const std::vector<MetricNeed> needs{kOodScores};
  std::vector<MetricInfo> rows{
      {"auroc",
       "probability that an OOD sample scores above an ID sample, ties one half",
       needs,
       kHigher,
       "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution "
       "Examples in Neural Networks, 2017",
       {{"sklearn", ""},
        {"sdde", ""},
        {"openood", ""},
        {"sed", "positive class as released, which for two scores gives 1 - AUROC (scores.md)"},
        {"torch_uncertainty", ""}}},
      {"aupr_in",
       "trapezoid area under the precision-recall curve, ID positive",
       needs,
       kHigher,
       kSddePaper,
       {{"sklearn", "auc(recall, precision) of precision_recall_curve"},
        {"sdde", "OOD positive"},
        {"openood", ""}}},
      {"aupr_out",
       "the same, OOD positive",
       needs,
       kHigher,
       kSddePaper,
       {{"sklearn", ""},
        {"sdde", "ID positive"},
        {"openood", ""},
        {"torch_uncertainty", "average precision, OOD positive"}}},
      {"average_precision_in",
       "sum over thresholds of recall steps times precision, ID positive",
       needs,
       kHigher,
       "",
       {{"sklearn", "average_precision_score"}}},
      {"average_precision_out",
       "the same, OOD positive",
       needs,
       kHigher,
       "",
       {{"sklearn", "average_precision_score"}, {"torch_uncertainty", ""}}},
      {"fpr95",
       "share of ID samples at the largest threshold that recalls at least 95 % of the OOD samples",
       needs,
       kLower,
       "Liang et al., Enhancing The Reliability of Out-of-distribution Image Detection in Neural "
       "Networks, 2018",
       {{"sklearn", "roc_curve(drop_intermediate=False)"},
        {"sdde", "only at ROC points that roc_curve keeps by default: can be larger"},
        {"openood", "as sdde"},
        {"torch_uncertainty", "at the recall nearest to 95 %"}}},
      {"fpr95_in",
       "share of OOD samples at the largest threshold that recalls at least 95 % of the ID samples",
       needs,
       kLower,
       "Liang et al., Enhancing The Reliability of Out-of-distribution Image Detection in Neural "
       "Networks, 2018",
       {{"sklearn", ""}}},
  };
  for (const int exponent : {1, 2, 3, 4}) rows.push_back(ccr_row(exponent));
  return rows;
}

std::vector<MetricInfo> diversity_rows() {
  const std::vector<MetricNeed> outputs{kMemberLogits}, both{kMemberLogits, kLabels};
  const std::vector<MetricConvention> own{{"sklearn", ""}};
  return {
      {"disagreement",
       "share of (pair of members, sample) with different predictions",
       outputs,
       kHigher,
       kKuncheva,
       {{"sklearn", ""}, {"torch_uncertainty", ""}}},
      {"kl",
       "mean over ordered pairs and samples of KL(p_i || p_j), nats",
       outputs,
       kHigher,
       "",
       {{"sklearn", ""},
        {"sed",
         "minus the mean over pairs i < j of KL(p_j || p_i) with 1e-8 added, mean of batch values "
         "(kl_divergence)",
         true}}},
      {"jensen_shannon", "mean over pairs and samples of the Jensen-Shannon divergence, nats",
       outputs, kHigher, "Lin, Divergence Measures Based on the Shannon Entropy, 1991", own},
      {"variance",
       "mean over samples and classes of the variance over members of p (M - 1)",
       outputs,
       kHigher,
       "",
       {{"sklearn", ""}, {"sed", "minus that, mean of batch values", true}}},
      {"mutual_information",
       "mean entropy of the mean prediction minus mean entropy of the members, nats",
       outputs,
       kHigher,
       kDepeweg,
       {{"sklearn", ""}, {"torch_uncertainty", ""}}},
      {"total_entropy",
       "mean entropy of the mean prediction, nats",
       outputs,
       kNeither,
       kDepeweg,
       {{"sklearn", ""}, {"torch_uncertainty", ""}}},
      {"member_entropy", "mean entropy of the members, nats", outputs, kNeither, kDepeweg, own},
      {"q_statistic",
       "mean over pairs of (ad - bc) / (ad + bc); a both right, b, c one alone, d both wrong; "
       "pairs with 0 / 0 are left out",
       both, kLower, "Yule, On the Association of Attributes in Statistics, 1900", own},
      {"correlation", "mean over pairs of (ad - bc) / sqrt((a+b)(c+d)(a+c)(b+d)), likewise", both,
       kLower, kKuncheva, own},
      {"double_fault", "mean over pairs of the share of samples that both have wrong", both, kLower,
       "Giacinto and Roli, Design of Effective Neural Network Ensembles, 2001", own},
      {"unequal_success", "mean over pairs of the share of samples that one of the two has right",
       both, kHigher,
       "Skalak, The Sources of Increased Accuracy for Two Proposed Boosting Algorithms, 1996", own},
  };
}

std::vector<MetricInfo> conformal_rows() {
  const std::vector<MetricNeed> needs{kLogits, kLabels, kCalibrationSet};
  const std::vector<MetricConvention> own{{"sklearn", ""}};
  return {
      {"aps_coverage",
       "share of samples whose label is in the adaptive prediction set calibrated for 90 %", needs,
       kNeither, kRomano, own},
      {"aps_size", "mean number of classes in these sets", needs, kLower, kRomano, own},
      {"raps_coverage",
       "share of samples whose label is in the regularised adaptive prediction set calibrated for "
       "90 %",
       needs, kNeither, kAngelopoulos, own},
      {"raps_size", "mean number of classes in these sets", needs, kLower, kAngelopoulos, own},
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

bool MetricInfo::has_convention(const std::string& convention) const {
  return std::any_of(conventions.begin(), conventions.end(),
                     [&](const MetricConvention& own) { return own.name == convention; });
}

bool MetricInfo::has_as_said(const std::string& convention) const {
  return std::any_of(conventions.begin(), conventions.end(), [&](const MetricConvention& own) {
    return own.name == convention && own.meaning.empty();
  });
}

bool MetricInfo::averages_batches(const std::string& convention) const {
  return std::any_of(conventions.begin(), conventions.end(), [&](const MetricConvention& own) {
    return own.name == convention && own.batch_means;
  });
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

const std::vector<std::string>& metric_conventions() {
  static const std::vector<std::string> names{"sklearn", "sdde", "openood", "sed",
                                              "torch_uncertainty"};
  return names;
}

double detection_value(const RankingFigures& figures, const std::string& metric,
                       const std::string& convention) {
  const auto& info = find_metric(metric);
  DISSENT_CHECK(info.has_convention(convention), kUsage,
                "metric {}: convention: expected one that has it, found {}", metric, convention);
  const bool sdde = convention == "sdde", near = convention == "torch_uncertainty";
  const auto &in = figures.negative, &out = figures.positive;
  const auto fpr = [&](const RankingSide& side) {
    const auto& values = near                              ? side.fpr_nearest
                         : sdde || convention == "openood" ? side.fpr_dropped
                                                           : side.fpr;
    DISSENT_CHECK(values.size() == 1, kUsage,
                  "detection_value: figures: expected one recall, found {}", values.size());
    return values[0];
  };
  if (metric == "auroc") return figures.auroc;
  if (metric == "aupr_in") return sdde ? out.aupr : in.aupr;
  if (metric == "aupr_out") return sdde ? in.aupr : near ? out.average_precision : out.aupr;
  if (metric == "average_precision_in") return in.average_precision;
  if (metric == "average_precision_out") return out.average_precision;
  if (metric == "fpr95") return fpr(out);
  if (metric == "fpr95_in") return fpr(in);
  DISSENT_FAIL(kUsage, "detection_value: metric: expected one of scores alone, found {}", metric);
}

}  // namespace dissent::metrics
