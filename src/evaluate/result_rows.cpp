#include <dissent/error.hpp>
#include <dissent/metrics/mean_std.hpp>
#include <dissent/metrics/registry.hpp>

#include <numeric>

#include "core/parallel.hpp"
#include "evaluate/evaluator.hpp"

namespace dissent {
namespace {

constexpr const char* kOnTest = "chosen on the test set";

bool is_ranking(const std::string& metric) {
  return metric != "coverage" && metric != "set_size" && is_ranking_metric(metric);
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Diversity has its definition whatever the convention (evaluate.diversity): a row does not name
// one that does not have it, or has it otherwise. The means of scores follow the convention.
std::string convention_of(const Figure& figure, const EvaluateOptions& options) {
  const auto& table = metrics::metric_table();
  const bool fixed =
      figure.metric == "diversity" &&
      std::any_of(table.begin(), table.end(), [&](const auto& metric) {
        return metric.name == figure.score && !metric.has_as_said(options.convention);
      });
  return fixed ? "sklearn" : options.convention;
}

// All figures of some predictors; a list a predictor, in the same order for equal kinds.
using Figures = std::map<std::string, std::vector<Figure>>;

bool has_score(const Predictor& predictor, const PlannedScore& score, const SetColumns& set) {
  return predictor.group && score.mean_of_networks() ? true : set.has(score_key(predictor, score));
}

Figures compute(const RowContext& context, const SetColumns& set, const SetColumns* id,
                const std::string& name, bool labelled) {
  struct Job {
    const Predictor* predictor;
    const PlannedScore* score;  // nullptr: figures on labels
    std::vector<Figure> figures = {};
  };
  std::vector<Job> jobs;
  for (const auto* list : {&context.cast.groups, &context.cast.singles, &context.cast.subsets})
    for (const auto& predictor : *list) {
      if (labelled) jobs.push_back({&predictor, nullptr});
      for (const auto& score : context.choices.scores) {
        const bool subset = list == &context.cast.subsets && score.mean_of_networks();
        if (id && !subset && has_score(predictor, score, set)) jobs.push_back({&predictor, &score});
      }
    }
  parallel_tasks(static_cast<int64_t>(jobs.size()), [&](int64_t j) {
    auto& job = jobs[j];
    if (!job.score) {
      job.figures = label_figures(set, job.predictor->name, context.options);
      return;
    }
    const auto values = [&](const SetColumns& columns) {
      return score_values(columns, context.ensemble, *job.predictor, *job.score);
    };
    job.figures = ranking_figures(values(*id), values(set), id->at(job.predictor->name + "|right"),
                                  *job.score, context.options, name);
  });
  Figures figures;
  for (auto& job : jobs)
    for (auto& figure : job.figures) figures[job.predictor->name].push_back(std::move(figure));
  return figures;
}

// Collects the rows of one ensemble on one set.
class Rows {
 public:
  Rows(const RowContext& context, std::string dataset, std::string shift)
      : context_(context), dataset_(std::move(dataset)), shift_(std::move(shift)) {}
  void add(const std::string& predictor, const Figure& figure, bool on_test) {
    const auto& e = context_.ensemble;
    const auto& options = context_.options;
    // SED's release chooses its best member on each test set.
    rows_.push_back({e.experiment, e.run, e.config_hash, e.seed, e.method, e.members(), predictor,
                     dataset_, "test", shift_, figure.score, figure.metric,
                     on_test ? "sed" : options.convention,
                     on_test || (context_.chosen_on_test && chosen(predictor)) ? kOnTest : "",
                     figure.value, figure.n, options.experiment, e.training_hash});
  }
  void add_all(const std::string& predictor, const std::vector<Figure>& figures, bool on_test) {
    for (const auto& figure : figures) add(predictor, figure, on_test);
  }
  std::vector<ResultRow> take() { return std::move(rows_); }

 private:
  // Whether anything about this predictor was chosen or fitted on the validation set.
  bool chosen(const std::string& predictor) const {
    const auto& options = context_.options;
    return predictor == "best" || predictor.starts_with("greedy") || options.search ||
           options.temperature != "none" || options.vector_scaling || options.conformal != "none";
  }
  const RowContext& context_;
  std::string dataset_, shift_;
  std::vector<ResultRow> rows_;
};

// The member that is most accurate on these rows.
int64_t best_on(const SetColumns& columns, const LoadedEnsemble& ensemble) {
  std::vector<double> right;
  for (int64_t m = 0; m < ensemble.members(); ++m)
    right.push_back(columns.at(ensemble.unit_name(m) + "|right").sum().item<double>());
  return std::max_element(right.begin(), right.end()) - right.begin();
}

void add_mean(Rows& rows, const RowContext& context, const Figures& figures) {
  const auto& first = figures.at(context.ensemble.unit_name(0));
  for (size_t i = 0; i < first.size(); ++i) {
    std::vector<double> values;
    for (int64_t m = 0; m < context.ensemble.members(); ++m)
      values.push_back(figures.at(context.ensemble.unit_name(m))[i].value);
    auto figure = first[i];
    figure.value = mean_of(values);
    rows.add("mean", figure, false);
  }
}

// Mean and population deviation over the sub-ensembles of each size.
void add_sizes(Rows& rows, const RowContext& context, const Figures& figures) {
  std::map<int64_t, std::vector<const std::vector<Figure>*>> sizes;
  for (const auto& subset : context.cast.subsets)
    if (figures.contains(subset.name))
      sizes[static_cast<int64_t>(subset.units.size())].push_back(&figures.at(subset.name));
  for (const auto& [size, lists] : sizes)
    for (size_t i = 0; i < lists[0]->size(); ++i) {
      std::vector<double> values;
      for (const auto* list : lists) values.push_back((*list)[i].value);
      const auto spread = metrics::mean_std(values);
      auto figure = (*lists[0])[i];
      figure.value = spread.mean;
      rows.add(fmt::format("size:{}", size), figure, false);
      figure.metric += "_std";
      figure.value = spread.std;
      rows.add(fmt::format("size:{}", size), figure, false);
    }
}

}  // namespace

std::vector<ResultRow> rows_of(const RowContext& context, const SetColumns& set,
                               const SetColumns* id, const std::string& name,
                               const std::string& shift, bool labelled) {
  const auto figures = compute(context, set, id, name, labelled);
  if (figures.empty()) return {};
  Rows rows(context, name, shift);
  const auto& options = context.options;
  const auto& ensemble = context.ensemble;
  for (const char* predictor : {"ensemble", "soup", "greedy", "greedy_soup"})
    if (wants(options.predictors, predictor) && figures.contains(predictor))
      rows.add_all(predictor, figures.at(predictor), false);
  const bool members = figures.contains(ensemble.unit_name(0));
  if (wants(options.predictors, "best") && members) {
    const bool on_test = context.choices.best < 0;
    // Figures on labels by the best on these rows, scores by the best in distribution.
    for (size_t i = 0; i < figures.at(ensemble.unit_name(0)).size(); ++i) {
      const bool on_labels = labelled && !is_ranking(figures.at(ensemble.unit_name(0))[i].metric);
      const int64_t best =
          on_test ? best_on(on_labels || !id ? set : *id, ensemble) : context.choices.best;
      rows.add("best", figures.at(ensemble.unit_name(best))[i], on_test);
    }
  }
  if (wants(options.predictors, "mean") && members) add_mean(rows, context, figures);
  if (wants(options.predictors, "members") && members)
    for (int64_t m = 0; m < ensemble.members(); ++m)
      rows.add_all(ensemble.unit_name(m), figures.at(ensemble.unit_name(m)), false);
  add_sizes(rows, context, figures);
  return rows.take();
}

std::vector<ResultRow> ensemble_rows(const RowContext& context, const std::vector<Figure>& figures,
                                     const std::string& name, const std::string& shift) {
  const auto& e = context.ensemble;
  std::vector<ResultRow> rows;
  for (const auto& figure : figures)
    rows.push_back({e.experiment, e.run, e.config_hash, e.seed, e.method, e.members(), "ensemble",
                    name, "test", shift, figure.score, figure.metric,
                    convention_of(figure, context.options), "", figure.value, figure.n,
                    context.options.experiment, e.training_hash});
  return rows;
}

std::vector<ResultRow> mean_rows(std::vector<std::vector<ResultRow>> files) {
  auto rows = std::move(files.front());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<double> values{rows[i].value};
    for (size_t f = 1; f < files.size(); ++f) {
      values.push_back(files[f][i].value);
      rows[i].n += files[f][i].n;
    }
    rows[i].value = mean_of(values);
  }
  return rows;
}

}  // namespace dissent
