#pragma once
#include <dissent/metrics/ranking_figures.hpp>

#include <string>
#include <vector>

namespace dissent::metrics {

/// What a metric is computed from.
enum class MetricNeed {
  kLogits,         ///< of one predictor (an ensemble's combined output, or a member) on the set
  kLabels,         ///< of the set
  kMemberLogits,   ///< of all members on the set
  kOodScores,      ///< scores of the ID set and of an OOD set
  kCalibrationSet  ///< logits and labels of a further ID set
};
/// "logits", "labels", ..
std::string metric_need_name(MetricNeed need);

/// Which values are better.
enum class Better { kHigher, kLower, kNeither };

/// How a convention computes a metric.
struct MetricConvention {
  std::string name;          ///< sklearn, sdde, openood, sed or torch_uncertainty
  std::string meaning;       ///< empty: as the metric's meaning says
  bool batch_means = false;  ///< the mean of the batches' means, not of all samples
};

/// One row of the table of metrics.
struct MetricInfo {
  std::string name;
  std::string meaning;  ///< under convention sklearn, the default
  std::vector<MetricNeed> needs;
  Better better = Better::kNeither;
  std::string citation;
  std::vector<MetricConvention> conventions;  ///< those that have the metric; sklearn, or what
                                              ///< would be its definition, comes first

  bool has_convention(const std::string& convention) const;
  /// Whether the convention has the metric with its meaning, not with one of its own.
  bool has_as_said(const std::string& convention) const;
  /// Whether the convention reports the mean of the batches' means (nll of sdde and openood); what
  /// computes figures asks here, so that all of it agrees.
  bool averages_batches(const std::string& convention) const;
};

/// All metrics, in the order of the docs.
const std::vector<MetricInfo>& metric_table();

/// The metric of this name. Throws Error::kUsage that lists the known names.
const MetricInfo& find_metric(const std::string& name);

/// sklearn (the default), sdde, openood, sed, torch_uncertainty.
const std::vector<std::string>& metric_conventions();

/// The value of a metric that needs OOD scores (ccr aside) under a convention. figures: OOD samples
/// are the positive class, larger scores are expected of them; made with recalls {0.95}. Under sed
/// turn the scores as the release has them (ScoreInfo::released_positive). Throws Error::kUsage for
/// another metric, and where the convention does not have it.
double detection_value(const RankingFigures& figures, const std::string& metric,
                       const std::string& convention = "sklearn");

/// docs/metrics.md, written from the table.
std::string metrics_page();

}  // namespace dissent::metrics
