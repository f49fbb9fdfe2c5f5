#include "evaluate/figures.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/accuracy.hpp>
#include <dissent/metrics/calibration.hpp>
#include <dissent/metrics/correct_classification.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/metrics/reliability.hpp>
#include <dissent/scores/imagenet_subset.hpp>

#include <cmath>

namespace dissent {
namespace {

bool has_need(const std::string& metric, metrics::MetricNeed need) {
  const auto& needs = metrics::find_metric(metric).needs;
  return std::find(needs.begin(), needs.end(), need) != needs.end();
}

// The means of the batches of evaluate.batch_rows, or all values: what the mean goes over.
metrics::ExactMean batched_mean(const at::Tensor& values, const EvaluateOptions& options,
                                bool batches) {
  metrics::ExactMean mean;
  for (int64_t first = 0; batches && first < values.size(0); first += options.batch_rows)
    mean.update(values.narrow(0, first, std::min(options.batch_rows, values.size(0) - first))
                    .mean()
                    .unsqueeze(0));
  if (!batches) mean.update(values);
  return mean;
}

// Mean of a metric's values, of all or of the batches' means as the convention has it.
double mean_of(const std::string& metric, const at::Tensor& values,
               const EvaluateOptions& options) {
  return batched_mean(values, options,
                      metrics::find_metric(metric).averages_batches(options.convention))
      .finish();
}

double aurc(const at::Tensor& confidence, const at::Tensor& right, const std::string& convention) {
  const auto ranked = metrics::Ranking::from_scores(confidence.masked_select(right),
                                                    confidence.masked_select(right.logical_not()));
  const auto figures = metrics::ranking_figures(ranked, {.recalls = {}, .risk = true});
  return convention == "torch_uncertainty" ? figures.aurc_trapezoid : figures.aurc;
}

// Rows [nll, brier, confidence] of logits; rows without a label count as class 0 and are never
// read.
std::vector<at::Tensor> calibration_rows(const at::Tensor& z, const at::Tensor& labels,
                                         const std::string& convention) {
  const auto values = metrics::calibration_values(z, labels.clamp_min(0));
  return {values.nll, values.brier, convention == "openood" ? z.amax(1) : values.confidence};
}

// ccr1 .. ccr4: at false-positive rates 1e-1 .. 1e-4.
bool is_correct_rate(const std::string& metric) { return metric.starts_with("ccr"); }

void check_values(const at::Tensor& values, const std::string& score, const std::string& set) {
  const auto bad = values.isnan().sum().item<int64_t>();
  DISSENT_CHECK(bad == 0, kData, "score {0} of {1}: expected numbers, found {2} of {3} NaN", score,
                set, bad, values.numel());
}

}  // namespace

metrics::Reliability reliability_of(const EvaluateOptions& options) {
  const auto& name = options.convention;
  return metrics::Reliability(options.bins,
                              name == "sdde" || name == "openood" ? metrics::TopBin::kDropped
                              : name == "torch_uncertainty"       ? metrics::TopBin::kOwn
                                                                  : metrics::TopBin::kClosed);
}

double mean_over_rows(const at::Tensor& values, const EvaluateOptions& options) {
  return batched_mean(values, options, options.convention == "sed").finish();
}

bool is_label_metric(const std::string& metric) {
  return has_need(metric, metrics::MetricNeed::kLabels) &&
         !has_need(metric, metrics::MetricNeed::kOodScores) &&
         has_need(metric, metrics::MetricNeed::kLogits);
}

bool is_ranking_metric(const std::string& metric) {
  return has_need(metric, metrics::MetricNeed::kOodScores);
}

ColumnGroup label_columns(const ColumnPlan& plan, const Predictor& predictor,
                          const EvaluateOptions& options, const Calibrators& calibrators) {
  ColumnGroup group;
  const bool top5 = wants(options.metrics, "accuracy_top5");
  const bool calibrated =
      options.figures ||
      std::any_of(options.metrics.begin(), options.metrics.end(),
                  [](const auto& m) { return is_label_metric(m) && !m.starts_with("accuracy"); });
  group.keys = {predictor.name + "|right"};
  if (top5) group.keys.push_back(predictor.name + "|right5");
  if (calibrated)
    for (const char* key : {"|nll", "|brier", "|confidence"})
      group.keys.push_back(predictor.name + key);
  if (calibrated && calibrators.temperature)
    for (const char* key : {"|nll@T", "|brier@T", "|confidence@T"})
      group.keys.push_back(predictor.name + key);
  if (calibrated && calibrators.vector)
    for (const char* key : {"|nll@V", "|brier@V", "|confidence@V"})
      group.keys.push_back(predictor.name + key);
  if (calibrators.conformal)
    for (const char* key : {"|covered", "|set_size"}) group.keys.push_back(predictor.name + key);
  group.values = [=, units = plan.units](const MemberOutputs& outputs, const at::Tensor& labels) {
    const auto z =
        output_logits(unit_rows(outputs.logits, units, predictor.units), predictor, options);
    std::vector<at::Tensor> rows{z.argmax(1).eq(labels)};
    if (top5) rows.push_back(metrics::right_in_top_k(z, labels, 5));
    const auto add = [&](const at::Tensor& logits) {
      for (const auto& values : calibration_rows(logits, labels, options.convention))
        rows.push_back(values);
    };
    if (calibrated) add(z);
    if (calibrated && calibrators.temperature) add(z / *calibrators.temperature);
    if (calibrated && calibrators.vector) add(scores::scale_logits(z, *calibrators.vector));
    if (calibrators.conformal) {
      const auto sets = metrics::conformal_sets(at::softmax(z, 1), *calibrators.conformal,
                                                conformal_options(options), outputs.first_row);
      rows.push_back(sets.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1));
      rows.push_back(sets.sum(1));
    }
    for (auto& row : rows) row = row.to(at::kDouble);
    return at::stack(rows);
  };
  return group;
}

metrics::ConformalOptions conformal_options(const EvaluateOptions& options) {
  if (options.conformal == "raps") return metrics::raps_options(options.conformal_level);
  metrics::ConformalOptions aps;
  aps.level = options.conformal_level;
  return aps;
}

ColumnGroup subset_columns(const ColumnPlan& plan, const Predictor& predictor,
                           const EvaluateOptions& options, const EvaluateSet& set) {
  const auto& subset = scores::imagenet_subset(set.classes);
  const bool released = options.convention == "sed", all_labels = set.labels == "all";
  return {
      {predictor.name + "|right"},
      [=, &subset, units = plan.units](const MemberOutputs& outputs, const at::Tensor& labels) {
        const auto logits = unit_rows(outputs.logits, units, predictor.units);
        const auto rule =
            released ? scores::SubsetRule::kReleased : scores::SubsetRule::kMaskedSoftmax;
        const auto rows =
            released
                ? scores::subset_outputs(logits, scores::InputKind::kLogits, subset, rule).mean(0)
                : scores::subset_outputs(output_logits(logits, predictor, options),
                                         scores::InputKind::kLogits, subset, rule);
        return scores::subset_predictions(rows)
            .eq(all_labels ? scores::subset_labels(labels, subset) : labels)
            .to(at::kDouble);
      }};
}

std::vector<Figure> label_figures(const SetColumns& columns, const std::string& predictor,
                                  const EvaluateOptions& options) {
  std::vector<Figure> figures;
  const int64_t n = columns.rows();
  const auto right = columns.at(predictor + "|right").ne(0);
  const auto share = [&](const char* key) {
    return columns.at(predictor + key).sum().item<double>() / static_cast<double>(n);
  };
  for (const auto& metric : options.metrics) {
    if (metric == "accuracy") figures.push_back({"", metric, share("|right"), n});
    if (metric == "accuracy_top5" && columns.has(predictor + "|right5"))
      figures.push_back({"", metric, share("|right5"), n});
  }
  if (columns.has(predictor + "|covered")) {
    figures.push_back({options.conformal, "coverage", share("|covered"), n});
    figures.push_back({options.conformal, "set_size", share("|set_size"), n});
  }
  for (const std::string after : {"", "@T", "@V"}) {
    if (!columns.has(predictor + "|nll" + after)) continue;
    const auto confidence = columns.at(predictor + "|confidence" + after);
    auto bins = reliability_of(options);
    bins.update(confidence, right);
    for (const auto& metric : options.metrics) {
      const auto put = [&](double value) {
        figures.push_back({after.empty()   ? ""
                           : after == "@T" ? "temperature"
                                           : "vector",
                           metric, value, n});
      };
      if (metric == "nll") put(mean_of(metric, columns.at(predictor + "|nll" + after), options));
      if (metric == "brier")
        put(mean_of(metric, columns.at(predictor + "|brier" + after), options));
      if (metric == "ece") put(bins.expected_error());
      if (metric == "ece_max") put(bins.largest_error());
      if (metric == "ece_equal_mass")
        put(metrics::equal_mass_error(confidence, right, options.bins));
      const auto classwise = predictor + "|ece_classwise" + after;  // not of joined sets
      if (metric == "ece_classwise" && columns.has(classwise))
        put(columns.at(classwise).item<double>());
      if (metric == "aurc") put(aurc(confidence, right, options.convention));
    }
  }
  return figures;
}

double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score,
                const std::string& convention, const std::string& ood_name) {
  check_values(id, score.name, "the in-distribution set");
  check_values(ood, score.name, ood_name);
  const bool id_positive = score.larger_for_id(convention);
  return metrics::auroc(
      metrics::Ranking::from_scores(id_positive ? id : ood, id_positive ? ood : id).finish());
}

std::vector<Figure> ranking_figures(const at::Tensor& id, const at::Tensor& ood,
                                    const at::Tensor& right, const PlannedScore& score,
                                    const EvaluateOptions& options, const std::string& ood_name) {
  std::vector<Figure> figures;
  std::vector<std::string> wanted;
  for (const auto& metric : options.metrics)
    if (is_ranking_metric(metric)) wanted.push_back(metric);
  const int64_t n = id.numel() + ood.numel();
  if (wanted.empty()) return figures;
  if (wanted == std::vector<std::string>{"auroc"})
    return {{score.name, "auroc", auroc_of(id, ood, score, options.convention, ood_name), n}};
  check_values(id, score.name, "the in-distribution set");
  check_values(ood, score.name, ood_name);
  const double sign =
      score.larger_for_id(options.convention) ? -1 : 1;  // unknown inputs are positive
  const bool rates = std::any_of(wanted.begin(), wanted.end(), is_correct_rate),
             others = !std::all_of(wanted.begin(), wanted.end(), is_correct_rate);
  metrics::RankingFigures all;
  if (others) all = metrics::ranking_figures(metrics::Ranking::from_scores(ood * sign, id * sign));
  metrics::CorrectClassification correct;
  if (rates) {
    const auto zero = at::zeros({id.numel()}, at::kLong),
               unknown = at::full({ood.numel()}, -1, at::kLong);
    correct.update(id * -sign, right.eq(0).to(at::kLong), zero);
    correct.update(ood * -sign, at::zeros_like(unknown), unknown);
  }
  for (const auto& metric : wanted)
    figures.push_back({score.name, metric,
                       is_correct_rate(metric)
                           ? correct.finish(std::pow(10, -(metric.back() - '0')))
                           : metrics::detection_value(all, metric, options.convention),
                       n});
  return figures;
}

at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble,
                        const Predictor& predictor, const PlannedScore& score) {
  if (!predictor.group || !score.mean_of_networks()) return columns.at(score_key(predictor, score));
  at::Tensor sum;
  for (const int64_t unit : predictor.units) {
    const auto values = columns.at(ensemble.unit_name(unit) + "|" + score.name);
    sum = sum.defined() ? sum + values : values.clone();
  }
  return sum / static_cast<double>(predictor.units.size());
}

}  // namespace dissent
