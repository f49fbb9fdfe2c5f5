#pragma once
#include <dissent/metrics/ranking_values.hpp>

#include <string>
#include <utility>
#include <vector>

namespace dissent::metrics {

/// Identifies a metric in code; its name is in metric_table().
enum class Metric {
  kAccuracy,
  kAccuracyTop5,
  kNll,
  kBrier,
  kEce,
  kEceMax,
  kEceEqualMass,
  kEceClasswise,
  kAurc,
  kAuroc,
  kAuprIn,
  kAuprOut,
  kAveragePrecisionIn,
  kAveragePrecisionOut,
  kFpr95,
  kFpr95In,
  kCcr1,  ///< ccr1 .. ccr4: at false-positive rates 1e-1 .. 1e-4
  kCcr2,
  kCcr3,
  kCcr4,
  kDisagreement,
  kKl,
  kJensenShannon,
  kVariance,
  kMutualInformation,
  kTotalEntropy,
  kMemberEntropy,
  kQStatistic,
  kCorrelation,
  kDoubleFault,
  kUnequalSuccess,
  kApsCoverage,
  kApsSize,
  kRapsCoverage,
  kRapsSize,
};

/// Whose definitions a metric follows.
enum class Convention { kSklearn, kSdde, kOpenood, kSed, kTorchUncertainty };
/// Names of the conventions in the order of the docs: sklearn (the default), sdde, openood, sed,
/// torch_uncertainty.
const std::vector<std::pair<std::string, Convention>>& convention_names();
const std::string& convention_name(Convention convention);
/// Throws Error::kUsage that lists the known names.
Convention find_convention(const std::string& name);

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
  Convention convention;
  std::string meaning;       ///< empty: as the metric's meaning says
  bool batch_means = false;  ///< the mean of the batch means, not of all samples
};

/// One entry of the table of metrics.
struct MetricInfo {
  Metric id;
  std::string name;
  std::string meaning;  ///< under convention sklearn, the default
  std::vector<MetricNeed> needs;
  Better better = Better::kNeither;
  std::string citation;
  std::vector<MetricConvention> conventions;  ///< those that define the metric; sklearn, or what
                                              ///< would be its definition, comes first

  /// The entry of a convention; nullptr if the convention does not define the metric.
  const MetricConvention* find_convention(Convention convention) const;
  bool has_convention(Convention convention) const;
  /// Whether the convention defines the metric as `meaning` says, without changes.
  bool has_default_definition(Convention convention) const;
  /// Whether the convention reports the mean of the batch means (nll of sdde and openood). All code
  /// that computes metric values calls this.
  bool averages_batches(Convention convention) const;
  bool needs_input(MetricNeed need) const;
};

/// All metrics, in the order of the docs.
const std::vector<MetricInfo>& metric_table();

/// The metric of this name.
/// Throws Error::kUsage that lists the known names.
const MetricInfo& find_metric(const std::string& name);

/// Throws Error::kUsage unless the convention defines the metric.
void check_convention(const MetricInfo& metric, Convention convention);

/// The value of a metric that needs OOD scores (except ccr1 .. ccr4) under a convention. values:
/// OOD samples are the positive class, larger scores are expected of them; computed with recalls
/// {0.95}. Under sed orient the scores as in its release (ScoreInfo::released_positive).
/// Throws Error::kUsage for another metric, and if the convention does not define it.
double detection_value(const RankingValues& values, const std::string& metric,
                       Convention convention = Convention::kSklearn);

/// docs/metrics.md, written from the table.
std::string metrics_page();

}  // namespace dissent::metrics
