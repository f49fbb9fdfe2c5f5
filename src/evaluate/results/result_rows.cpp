#include "evaluate/results/result_rows.hpp"

#include <dissent/metrics/mean_std.hpp>
#include <dissent/metrics/registry.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/parallel.hpp"

namespace dissent {
namespace {

using metrics::Convention;

constexpr const char* kChosenOnTest = "chosen on the test set";  // of ResultRow::fidelity

double mean_of_list(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Diversity has the same definition under every convention (evaluate.diversity): its rows must not
// name a convention that lacks it or defines it differently. The means of scores follow the
// convention.
Convention convention_of(const MetricValue& value, const EvaluateOptions& options) {
  const auto& table = metrics::metric_table();
  const bool fixed =
      value.metric == "diversity" &&
      std::any_of(table.begin(), table.end(), [&](const auto& metric) {
        return metric.name == value.score && !metric.has_default_definition(options.convention);
      });
  return fixed ? Convention::kSklearn : options.convention;
}

// The result row of one value.
ResultRow row_of(const RowContext& context, const std::string& predictor, const MetricValue& value,
                 const RowSet& set, Convention convention, const std::string& fidelity) {
  const auto& ensemble = context.ensemble;
  return {.experiment = ensemble.experiment,
          .run = ensemble.run,
          .config_hash = ensemble.config_hash,
          .seed = ensemble.seed,
          .method = ensemble.method,
          .members = ensemble.members(),
          .predictor = predictor,
          .dataset = set.name,
          .split = "test",
          .shift = option_name(set.shift),
          .score = value.score,
          .metric = value.metric,
          .convention = metrics::convention_name(convention),
          .fidelity = fidelity,
          .value = value.value,
          .n = value.n,
          .evaluation = context.options.experiment,
          .training_hash = ensemble.training_hash};
}

// The metric values of each predictor, in the same order for predictors of the same kind.
using PredictorValues = std::map<std::string, std::vector<MetricValue>>;

PredictorValues compute_values(const RowContext& context, const SetColumns& columns,
                               const SetColumns* id, const RowSet& set, bool labelled) {
  const auto has_score = [&](const Predictor& predictor, const PlannedScore& score) {
    // Sub-ensembles have no scores that are means over their networks.
    if (predictor.combined && score.mean_of_networks()) return !predictor.sub_ensemble;
    return columns.has(score_key(predictor, score));
  };

  // Metrics are computed in parallel, one job per predictor and score.
  struct Job {
    const Predictor* predictor;
    const PlannedScore* score;  // nullptr: metrics of labels
    std::vector<MetricValue> values = {};
  };
  std::vector<Job> jobs;
  for (const auto* predictor : context.predictors.all()) {
    if (labelled) jobs.push_back({predictor, nullptr});

    // Without `id` this is the in-distribution set itself, or one that is not compared with it.
    if (!id) continue;
    for (const auto& score : context.choices.scores)
      if (has_score(*predictor, score)) jobs.push_back({predictor, &score});
  }

  parallel_tasks(static_cast<int64_t>(jobs.size()), [&](int64_t j) {
    auto& job = jobs[j];
    if (!job.score) {
      job.values = label_values(columns, job.predictor->name, context.options);
      return;
    }
    const auto scores_in = [&](const SetColumns& of_set) {
      return score_values(of_set, context.ensemble, *job.predictor, *job.score);
    };

    // ccr counts correct predictions in distribution.
    const auto correct = id->at({ColumnKind::kCorrect, job.predictor->name});
    job.values = detection_values(scores_in(*id), scores_in(columns), correct, *job.score,
                                  context.options, set.name);
  });

  // In the order of the jobs, not in which they ended: add_best(), add_mean() and add_sizes() match
  // the values of predictors by their places.
  PredictorValues values;
  for (auto& job : jobs)
    for (auto& value : job.values) values[job.predictor->name].push_back(std::move(value));
  return values;
}

// Collects the rows of one ensemble on one set.
class RowCollector {
 public:
  RowCollector(const RowContext& context, const RowSet& set) : context_(context), set_(set) {}
  void add(const std::string& predictor, const MetricValue& value) {
    const bool on_test = context_.chosen_on_test && is_chosen(predictor);
    rows_.push_back(row_of(context_, predictor, value, set_, context_.options.convention,
                           on_test ? kChosenOnTest : ""));
  }
  /// A value of the member that is best on the test set, as SED's release chooses it.
  void add_best_on_test(const MetricValue& value) {
    rows_.push_back(row_of(context_, option_name(ReportedPredictor::kBest), value, set_,
                           Convention::kSed, kChosenOnTest));
  }
  void add_all(const std::string& predictor, const std::vector<MetricValue>& values) {
    for (const auto& value : values) add(predictor, value);
  }
  std::vector<ResultRow> take() { return std::move(rows_); }

 private:
  // Whether anything about this predictor was chosen or fitted on the validation set.
  bool is_chosen(const std::string& predictor) const {
    using enum ReportedPredictor;
    const auto& options = context_.options;
    return predictor == option_name(kBest) || predictor == option_name(kGreedy) ||
           predictor == option_name(kGreedySoup) || options.search ||
           options.temperature != TemperatureMethod::kNone || options.vector_scaling ||
           options.conformal != ConformalMethod::kNone;
  }
  const RowContext& context_;
  const RowSet& set_;
  std::vector<ResultRow> rows_;
};

// The most accurate member on these rows.
int64_t best_on(const SetColumns& columns, const LoadedEnsemble& ensemble) {
  std::vector<double> correct;
  for (int64_t m = 0; m < ensemble.members(); ++m)
    correct.push_back(
        columns.at({ColumnKind::kCorrect, ensemble.unit_name(m)}).sum().item<double>());
  return std::max_element(correct.begin(), correct.end()) - correct.begin();
}

void add_best(RowCollector& rows, const RowContext& context, const SetColumns& columns,
              const SetColumns* id, bool labelled, const PredictorValues& values) {
  const auto& ensemble = context.ensemble;
  const auto& of_first = values.at(ensemble.unit_name(0));
  for (size_t i = 0; i < of_first.size(); ++i) {
    if (context.choices.best >= 0) {
      rows.add(option_name(ReportedPredictor::kBest),
               values.at(ensemble.unit_name(context.choices.best))[i]);
      continue;
    }
    // Without validation: the member that is best on these rows for metrics of labels, and the best
    // in distribution for scores.
    const bool on_labels = labelled && !of_first[i].compares_sets;
    const int64_t best = best_on(on_labels || !id ? columns : *id, ensemble);
    rows.add_best_on_test(values.at(ensemble.unit_name(best))[i]);
  }
}

void add_mean(RowCollector& rows, const RowContext& context, const PredictorValues& values) {
  const auto& of_first = values.at(context.ensemble.unit_name(0));
  for (size_t i = 0; i < of_first.size(); ++i) {
    // All members have the same metrics in the same order (PredictorValues).
    std::vector<double> of_members;
    for (int64_t m = 0; m < context.ensemble.members(); ++m)
      of_members.push_back(values.at(context.ensemble.unit_name(m))[i].value);

    // Names and counts are those of the first member; only the value changes.
    auto mean = of_first[i];
    mean.value = mean_of_list(of_members);
    rows.add(option_name(ReportedPredictor::kMean), mean);
  }
}

// Mean and population deviation over the sub-ensembles of each size.
void add_sizes(RowCollector& rows, const RowContext& context, const PredictorValues& values) {
  std::map<int64_t, std::vector<const std::vector<MetricValue>*>> by_size;
  for (const auto& predictor : context.predictors.sub_ensembles)
    if (values.contains(predictor.name))
      by_size[static_cast<int64_t>(predictor.units.size())].push_back(&values.at(predictor.name));

  for (const auto& [size, lists] : by_size)
    for (size_t i = 0; i < lists[0]->size(); ++i) {
      std::vector<double> of_subsets;
      for (const auto* list : lists) of_subsets.push_back((*list)[i].value);

      // All sub-ensembles of a size have the same metrics in the same order.
      const auto spread = metrics::mean_std(of_subsets);

      const auto predictor = fmt::format("size:{}", size);
      auto value = (*lists[0])[i];
      value.value = spread.mean;
      rows.add(predictor, value);
      value.metric += "_std";
      value.value = spread.std;
      rows.add(predictor, value);
    }
}

}  // namespace

std::vector<ResultRow> result_rows(const RowContext& context, const SetColumns& columns,
                                   const SetColumns* id, const RowSet& set, bool labelled) {
  const auto values = compute_values(context, columns, id, set, labelled);

  // Neither labels nor another set to compare with: there is nothing to report.
  if (values.empty()) return {};

  using enum ReportedPredictor;
  RowCollector rows(context, set);
  const auto reported = [&](ReportedPredictor predictor) {
    return contains(context.options.predictors, predictor);
  };

  for (const auto predictor : {kEnsemble, kSoup, kGreedy, kGreedySoup}) {
    const auto& name = option_name(predictor);
    if (reported(predictor) && values.contains(name)) rows.add_all(name, values.at(name));
  }

  // `best` and `mean` are made from the rows of the members, which may not be reported
  // themselves.
  const auto& ensemble = context.ensemble;
  if (values.contains(ensemble.unit_name(0))) {
    if (reported(kBest)) add_best(rows, context, columns, id, labelled, values);
    if (reported(kMean)) add_mean(rows, context, values);
    if (reported(kMembers))
      for (int64_t m = 0; m < ensemble.members(); ++m)
        rows.add_all(ensemble.unit_name(m), values.at(ensemble.unit_name(m)));
  }
  add_sizes(rows, context, values);
  return rows.take();
}

std::vector<ResultRow> ensemble_rows(const RowContext& context,
                                     const std::vector<MetricValue>& values, const RowSet& set) {
  std::vector<ResultRow> rows;
  for (const auto& value : values)
    rows.push_back(row_of(context, option_name(ReportedPredictor::kEnsemble), value, set,
                          convention_of(value, context.options), ""));
  return rows;
}

std::vector<ResultRow> mean_rows(std::vector<std::vector<ResultRow>> files) {
  // All files of a set have the same rows in the same order; the counts are added.
  auto rows = std::move(files.front());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<double> values{rows[i].value};
    for (size_t f = 1; f < files.size(); ++f) {
      values.push_back(files[f][i].value);
      rows[i].n += files[f][i].n;
    }
    rows[i].value = mean_of_list(values);
  }
  return rows;
}

}  // namespace dissent
