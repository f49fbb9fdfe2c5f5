#include "evaluate/values/metric_values.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/accuracy.hpp>
#include <dissent/metrics/calibration.hpp>
#include <dissent/metrics/correct_classification.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/metrics/reliability.hpp>
#include <dissent/scores/imagenet_subset.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace dissent {
namespace {

using metrics::Convention;
using metrics::Metric;

constexpr ColumnKind kProbabilityColumns[] = {ColumnKind::kNll, ColumnKind::kBrier,
                                              ColumnKind::kConfidence};

// The mean over all values, or over the means of batches of evaluate.batch_rows rows.
double mean_of_values(const at::Tensor& values, const EvaluateOptions& options, bool batches) {
  metrics::ExactMean mean;
  if (!batches) {
    mean.update(values);
    return mean.finish();
  }

  // As in the releases, a short last batch counts as much as a full one.
  for (int64_t first = 0; first < values.size(0); first += options.batch_rows)
    mean.update(values.narrow(0, first, std::min(options.batch_rows, values.size(0) - first))
                    .mean()
                    .unsqueeze(0));
  return mean.finish();
}

// AURC of confidences: correct predictions are the positives.
double aurc(const at::Tensor& confidence, const at::Tensor& correct, Convention convention) {
  // Risk is the share of errors among the most confident predictions, so errors are the negatives.
  const auto ranking = metrics::Ranking::from_scores(
      confidence.masked_select(correct), confidence.masked_select(correct.logical_not()));
  const auto values = metrics::ranking_values(ranking, {.recalls = {}, .risk = true});
  return convention == Convention::kTorchUncertainty ? values.aurc_trapezoid : values.aurc;
}

// [nll, brier, confidence] of logits. Rows without a label count as class 0; their values are never
// read.
std::vector<at::Tensor> probability_columns(const at::Tensor& z, const at::Tensor& labels,
                                            Convention convention) {
  const auto values = metrics::calibration_values(z, labels.clamp_min(0));
  return {values.nll, values.brier,
          convention == Convention::kOpenood ? z.amax(1) : values.confidence};
}

bool is_correct_rate(Metric metric) { return metric >= Metric::kCcr1 && metric <= Metric::kCcr4; }

// ccr1 .. ccr4 are at false-positive rates 1e-1 .. 1e-4.
double false_positive_rate(Metric metric) {
  return std::pow(10, -(1 + static_cast<int>(metric) - static_cast<int>(Metric::kCcr1)));
}

void check_no_nan_scores(const at::Tensor& values, const std::string& score,
                         const std::string& set) {
  const auto bad = values.isnan().sum().item<int64_t>();
  DISSENT_CHECK(bad == 0, kData, "score {0} of {1}: expected numbers, found {2} of {3} NaN", score,
                set, bad, values.numel());
}

const char* scaling_name(Scaling scaling) {
  switch (scaling) {
    case Scaling::kTemperature: return "temperature";
    case Scaling::kVector: return "vector";
    case Scaling::kNone: break;
  }
  return "";
}

// Whether any metric is computed from probabilities, not only from predictions.
bool needs_probabilities(const EvaluateOptions& options) {
  if (options.plots) return true;  // reliability diagrams
  return std::any_of(options.metrics.begin(), options.metrics.end(), [](const auto& name) {
    const auto& metric = metrics::find_metric(name);
    return is_label_metric(metric) && metric.id != Metric::kAccuracy &&
           metric.id != Metric::kAccuracyTop5;
  });
}

// Metrics of probabilities before or after scaling.
void add_probability_values(const SetColumns& columns, const std::string& predictor,
                            Scaling scaling, const at::Tensor& correct,
                            const EvaluateOptions& options, std::vector<MetricValue>& values) {
  // All of these read the columns of one pass; the binned metrics share one set of bins.
  const auto column = [&](ColumnKind kind) { return columns.at({kind, predictor, scaling}); };

  const auto confidence = column(ColumnKind::kConfidence);
  auto bins = empty_bins(options);
  bins.update(confidence, correct);

  for (const auto& name : options.metrics) {
    const auto& metric = metrics::find_metric(name);
    const auto add = [&](double value) {
      values.push_back({scaling_name(scaling), name, value, columns.rows()});
    };
    const bool batches = metric.averages_batches(options.convention);

    switch (metric.id) {
      case Metric::kNll: add(mean_of_values(column(ColumnKind::kNll), options, batches)); break;
      case Metric::kBrier: add(mean_of_values(column(ColumnKind::kBrier), options, batches)); break;
      case Metric::kEce: add(bins.expected_error()); break;
      case Metric::kEceMax: add(bins.largest_error()); break;
      case Metric::kEceEqualMass:
        add(metrics::equal_mass_error(confidence, correct, options.bins));
        break;
      case Metric::kEceClasswise: {
        // Joined sets do not have it: its bins belong to one pass.
        const ColumnKey key{ColumnKind::kClasswiseError, predictor, scaling};
        if (columns.has(key)) add(columns.at(key).item<double>());
        break;
      }
      case Metric::kAurc: add(aurc(confidence, correct, options.convention)); break;
      default: break;  // computed elsewhere
    }
  }
}

}  // namespace

metrics::Reliability empty_bins(const EvaluateOptions& options) {
  auto top = metrics::TopBin::kClosed;
  if (options.convention == Convention::kSdde || options.convention == Convention::kOpenood)
    top = metrics::TopBin::kDropped;
  if (options.convention == Convention::kTorchUncertainty) top = metrics::TopBin::kOwn;
  return metrics::Reliability(options.bins, top);
}

double mean_over_rows(const at::Tensor& values, const EvaluateOptions& options) {
  return mean_of_values(values, options, options.convention == Convention::kSed);
}

bool is_label_metric(const metrics::MetricInfo& metric) {
  return metric.needs_input(metrics::MetricNeed::kLabels) &&
         !metric.needs_input(metrics::MetricNeed::kOodScores) &&
         metric.needs_input(metrics::MetricNeed::kLogits);
}

bool is_ranking_metric(const metrics::MetricInfo& metric) {
  return metric.needs_input(metrics::MetricNeed::kOodScores);
}

ColumnGroup label_columns(const std::vector<int64_t>& units, const Predictor& predictor,
                          const EvaluateOptions& options, const Calibrators& calibrators) {
  // A column exists only for what some metric needs: columns take memory, and are gathered from
  // all ranks.
  const bool top5 = contains(options.metrics, "accuracy_top5");
  const bool probabilities = needs_probabilities(options);
  const bool temperature = probabilities && calibrators.temperature;
  const bool vector = probabilities && calibrators.vector;

  // The keys in the order of the values below.
  ColumnGroup group;
  const auto add_key = [&](ColumnKind kind, Scaling scaling) {
    group.keys.push_back({kind, predictor.name, scaling});
  };
  const auto add_probability_keys = [&](Scaling scaling) {
    for (const auto kind : kProbabilityColumns) add_key(kind, scaling);
  };
  add_key(ColumnKind::kCorrect, Scaling::kNone);
  if (top5) add_key(ColumnKind::kCorrectTop5, Scaling::kNone);
  if (probabilities) add_probability_keys(Scaling::kNone);
  if (temperature) add_probability_keys(Scaling::kTemperature);
  if (vector) add_probability_keys(Scaling::kVector);
  if (calibrators.conformal) {
    add_key(ColumnKind::kCovered, Scaling::kNone);
    add_key(ColumnKind::kSetSize, Scaling::kNone);
  }

  group.values = [=](const MemberOutputs& outputs, const at::Tensor& labels) {
    // Predictions are those of the unscaled output: neither scaling is applied to them.
    const auto z =
        output_logits(unit_rows(outputs.logits, units, predictor.units), predictor, options);
    std::vector<at::Tensor> rows{z.argmax(1).eq(labels)};
    if (top5) rows.push_back(metrics::right_in_top_k(z, labels, 5));

    const auto add_probabilities = [&](const at::Tensor& logits) {
      for (const auto& values : probability_columns(logits, labels, options.convention))
        rows.push_back(values);
    };
    if (probabilities) add_probabilities(z);
    if (temperature) add_probabilities(z / *calibrators.temperature);
    if (vector) add_probabilities(scores::scale_logits(z, *calibrators.vector));

    if (calibrators.conformal) {
      // first_row keys the random numbers of a row, so they do not depend on blocks.
      const auto sets = metrics::conformal_sets(at::softmax(z, 1), *calibrators.conformal,
                                                conformal_options(options), outputs.first_row);

      rows.push_back(sets.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1));
      rows.push_back(sets.sum(1));
    }

    // All columns are f64, also those that hold 0 or 1.
    for (auto& row : rows) row = row.to(at::kDouble);
    return at::stack(rows);
  };
  return group;
}

ColumnGroup subset_columns(const std::vector<int64_t>& units, const Predictor& predictor,
                           const EvaluateOptions& options, const EvaluateSet& set) {
  const auto& subset = scores::imagenet_subset(set.classes);
  const bool released = options.convention == Convention::kSed;
  const bool all_labels = set.labels == LabelNumbers::kAll;
  const auto values = [=, &subset](const MemberOutputs& outputs, const at::Tensor& labels) {
    const auto logits = unit_rows(outputs.logits, units, predictor.units);
    // SED's release averages the subset outputs of the members; else the subset of the combined
    // output is taken.
    const auto rows = released ? scores::subset_outputs(logits, scores::InputKind::kLogits, subset,
                                                        scores::SubsetRule::kReleased)
                                     .mean(0)
                               : scores::subset_outputs(output_logits(logits, predictor, options),
                                                        scores::InputKind::kLogits, subset,
                                                        scores::SubsetRule::kMaskedSoftmax);
    return scores::subset_predictions(rows)
        .eq(all_labels ? scores::subset_labels(labels, subset) : labels)
        .to(at::kDouble);
  };
  return {{{ColumnKind::kCorrect, predictor.name}}, values};
}

std::vector<MetricValue> label_values(const SetColumns& columns, const std::string& predictor,
                                      const EvaluateOptions& options) {
  std::vector<MetricValue> values;
  const int64_t n = columns.rows();
  const auto mean_of_column = [&](ColumnKind kind) {
    return columns.at({kind, predictor}).sum().item<double>() / static_cast<double>(n);
  };

  for (const auto& name : options.metrics) {
    const auto metric = metrics::find_metric(name).id;
    if (metric == Metric::kAccuracy)
      values.push_back({"", name, mean_of_column(ColumnKind::kCorrect), n});
    if (metric == Metric::kAccuracyTop5 && columns.has({ColumnKind::kCorrectTop5, predictor}))
      values.push_back({"", name, mean_of_column(ColumnKind::kCorrectTop5), n});
  }

  // Prediction sets exist if they were calibrated.
  if (columns.has({ColumnKind::kCovered, predictor})) {
    const auto& method = option_name(options.conformal);
    values.push_back({method, "coverage", mean_of_column(ColumnKind::kCovered), n});
    values.push_back({method, "set_size", mean_of_column(ColumnKind::kSetSize), n});
  }

  // Metrics of probabilities before and after each scaling that was fitted. A set with some of
  // the classes has only predictions.
  const auto correct = columns.at({ColumnKind::kCorrect, predictor}).ne(0);
  for (const auto scaling : kScalings)
    if (columns.has({ColumnKind::kNll, predictor, scaling}))
      add_probability_values(columns, predictor, scaling, correct, options, values);
  return values;
}

double auroc_of(const at::Tensor& id, const at::Tensor& ood, const PlannedScore& score,
                Convention convention, const std::string& ood_name) {
  check_no_nan_scores(id, score.name, "the in-distribution set");
  check_no_nan_scores(ood, score.name, ood_name);

  const bool id_positive = score.larger_for_id(convention);
  return metrics::auroc(
      metrics::Ranking::from_scores(id_positive ? id : ood, id_positive ? ood : id).finish());
}

std::vector<MetricValue> detection_values(const at::Tensor& id, const at::Tensor& ood,
                                          const at::Tensor& correct, const PlannedScore& score,
                                          const EvaluateOptions& options,
                                          const std::string& ood_name) {
  std::vector<const metrics::MetricInfo*> requested;
  for (const auto& name : options.metrics)
    if (const auto& metric = metrics::find_metric(name); is_ranking_metric(metric))
      requested.push_back(&metric);
  if (requested.empty()) return {};

  // AUROC alone needs no other values of the ranking.
  const int64_t n = id.numel() + ood.numel();
  if (requested.size() == 1 && requested[0]->id == Metric::kAuroc)
    return {{score.name, requested[0]->name, auroc_of(id, ood, score, options.convention, ood_name),
             n, true}};
  check_no_nan_scores(id, score.name, "the in-distribution set");
  check_no_nan_scores(ood, score.name, ood_name);

  // Unknown inputs are the positive class: scores are turned to be larger for them.
  const double sign = score.larger_for_id(options.convention) ? -1 : 1;
  const auto is_rate = [](const auto* metric) { return is_correct_rate(metric->id); };
  metrics::RankingValues ranking;
  if (!std::all_of(requested.begin(), requested.end(), is_rate))
    ranking = metrics::ranking_values(metrics::Ranking::from_scores(ood * sign, id * sign));

  // Correct classification rates take the score as the confidence. Class numbers only tell whether
  // a prediction is correct (0 for label 0), and label -1 marks unknown inputs.
  metrics::CorrectClassification rates;
  if (std::any_of(requested.begin(), requested.end(), is_rate)) {
    const auto zero = at::zeros({id.numel()}, at::kLong),
               unknown = at::full({ood.numel()}, -1, at::kLong);
    rates.update(id * -sign, correct.eq(0).to(at::kLong), zero);
    rates.update(ood * -sign, at::zeros_like(unknown), unknown);
  }

  std::vector<MetricValue> values;
  for (const auto* metric : requested) {
    const double value = is_correct_rate(metric->id)
                             ? rates.finish(false_positive_rate(metric->id))
                             : metrics::detection_value(ranking, metric->name, options.convention);
    values.push_back({score.name, metric->name, value, n, true});
  }
  return values;
}

at::Tensor score_values(const SetColumns& columns, const LoadedEnsemble& ensemble,
                        const Predictor& predictor, const PlannedScore& score) {
  if (!predictor.combined || !score.mean_of_networks())
    return columns.at(score_key(predictor, score));

  // On features an ensemble has no output of its own: its score is the mean over its networks of
  // their scores.
  at::Tensor sum;
  for (const int64_t unit : predictor.units) {
    const auto values = columns.at(
        {.kind = ColumnKind::kScore, .predictor = ensemble.unit_name(unit), .score = score.name});
    sum = sum.defined() ? sum + values : values.clone();
  }
  return sum / static_cast<double>(predictor.units.size());
}

}  // namespace dissent
