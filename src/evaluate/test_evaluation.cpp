#include "evaluate/test_evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "evaluate/results/comparisons.hpp"
#include "evaluate/results/result_rows.hpp"
#include "evaluate/values/classwise_error.hpp"
#include "evaluate/values/column_plan.hpp"
#include "evaluate/values/member_diversity.hpp"

namespace dissent {
namespace {

constexpr const char* kFullSpectrum = "full_spectrum";  // of ResultRow::split

// What a pass over a set gives for one ensemble.
struct PassResult {
  SetColumns columns;
  std::vector<MetricValue> diversity;
};

template <class T>
void append(std::vector<T>& to, std::vector<T> more) {
  for (auto& element : more) to.push_back(std::move(element));
}

// The third column of the file of reliability bins.
std::string temperature_text(Scaling scaling, const EvaluateOptions& options) {
  if (scaling == Scaling::kTemperature) return option_name(options.temperature);
  return scaling == Scaling::kVector ? "vector" : "none";
}

std::string series_name(const Predictor& predictor, Scaling scaling) {
  if (scaling == Scaling::kNone) return predictor.name;
  return fmt::format("{} ({})", predictor.name,
                     scaling == Scaling::kTemperature ? "temperature" : "vector scaling");
}

class TestEvaluation {
 public:
  TestEvaluation(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                 const EvaluationSets& sets, const EvaluateConfig& config,
                 std::vector<Choices> choices, std::vector<FittedStates> states, bool show_progress,
                 Evaluation& result)
      : comm_(comm),
        ensembles_(ensembles),
        sets_(sets),
        config_(config),
        options_(config.evaluate),
        choices_(std::move(choices)),
        states_(std::move(states)),
        show_progress_(show_progress),
        result_(result),
        file_names_(file_names(ensembles)),
        rows_(ensembles.size()),
        set_scores_(ensembles.size()) {
    // Labels are made from all runs, since a run is named by what tells it apart from the others.
    std::vector<RunKey> runs;
    for (const auto& ensemble : ensembles)
      runs.push_back({ensemble.run, ensemble.method, ensemble.config_hash, ensemble.seed});
    run_labels_ = run_labels(runs);

    for (size_t e = 0; e < ensembles.size(); ++e)
      predictors_.push_back(
          predictors_of(ensembles[e], choices_[e].scores, choices_[e].greedy, options_));
  }

  void run() {
    fit_scores();

    // The in-distribution set comes first: the others are compared with it.
    auto known = evaluate_id_set();
    add_saliency();
    if (options_.full_spectrum) add_full_spectrum(known);
    for (const auto& test : sets_.tests)
      if (!is_in_full_spectrum(test)) evaluate_test_set(test, known);
    collect();
  }

 private:
  // The result rows of each file of a set, for one ensemble.
  using FileRows = std::vector<std::vector<ResultRow>>;

  static RowSet row_set(const TestSet& test) { return {test.spec.name, test.spec.shift}; }

  void fit_scores() {
    std::vector<FitRequest> requests;
    for (size_t e = 0; e < ensembles_.size(); ++e)
      append(requests, fit_requests(e, predictors_[e], choices_[e].scores));

    // Without a validation set this is the test set, on which conflicts() allows fits only with
    // evaluate.allow_test_selection.
    const auto* validation = sets_.validation ? sets_.validation.get() : sets_.id.get();
    fit_states(comm_, ensembles_, requests, {sets_.fit.get(), validation}, config_, states_);
  }

  std::vector<PassResult> evaluate_id_set() {
    const RowSet set{sets_.id_name, Shift::kId};
    auto results = pass(*sets_.id, {.labelled = true}, nullptr);
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      // nullptr: this set is not compared with another one, so it has only metrics of labels.
      rows_[e] = result_rows(context(e), results[e].columns, nullptr, set, true);
      append(rows_[e], ensemble_rows(context(e), results[e].diversity, set));
      add_reliability(e, results[e].columns, set.name);

      store_scores(e, {&results[e].columns}, set, true);
    }
    return results;
  }

  // Whether the full spectrum includes a set in addition to the in-distribution set.
  bool is_in_full_spectrum(const TestSet& test) const {
    return options_.full_spectrum && test.spec.shift == Shift::kCovariate &&
           test.spec.classes.empty();
  }

  // Evaluates each covariate set, then all of them and the in-distribution set as one set, which
  // replaces `known`.
  void add_full_spectrum(std::vector<PassResult>& known) {
    for (const auto& test : sets_.tests)
      if (is_in_full_spectrum(test)) join_test_set(test, known);

    // From here on unknown inputs are detected against the joined set, so its scores come first.
    const RowSet set{sets_.id_name + "+covariate", Shift::kId};
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      auto rows = result_rows(context(e), known[e].columns, nullptr, set, true);
      for (auto& row : rows) row.split = kFullSpectrum;
      append(rows_[e], std::move(rows));
      if (needs_set_scores()) set_scores_[e].clear();
      store_scores(e, {&known[e].columns}, set, true);
    }
  }

  // Adds the rows of a set: metrics of labels, and of telling it apart from `known`.
  void evaluate_test_set(const TestSet& test, const std::vector<PassResult>& known) {
    // Scores of unknown inputs are defined on outputs over all classes; sets of shift id are known
    // inputs.
    const bool detected = test.spec.shift != Shift::kId && test.spec.classes.empty();
    std::vector<FileRows> rows(ensembles_.size());
    std::vector<std::vector<PassResult>> results;  // of each file
    for (const auto& file : test.files) {
      auto found = evaluate_file(test, *file, detected ? &known : nullptr, rows);

      // Columns are as long as a file: they are kept only for plots and comparisons.
      if (needs_set_scores()) results.push_back(std::move(found));
    }
    add_mean_rows(std::move(rows));

    for (size_t e = 0; e < ensembles_.size(); ++e) {
      std::vector<const SetColumns*> columns;
      for (const auto& result : results) columns.push_back(&result[e].columns);
      store_scores(e, columns, row_set(test), detected);
    }
  }

  // Adds the rows of a set of known inputs: only metrics of labels. Appends its columns to `known`.
  void join_test_set(const TestSet& test, std::vector<PassResult>& known) {
    std::vector<FileRows> rows(ensembles_.size());
    for (const auto& file : test.files) {
      const auto found = evaluate_file(test, *file, nullptr, rows);
      for (size_t e = 0; e < ensembles_.size(); ++e) known[e].columns.append(found[e].columns);
    }
    add_mean_rows(std::move(rows));
  }

  // A pass over one file of a set, whose rows are appended to those of each ensemble. known: what
  // the file is compared with; nullptr: only metrics of labels.
  std::vector<PassResult> evaluate_file(const TestSet& test, const EvaluationSet& file,
                                        const std::vector<PassResult>* known,
                                        std::vector<FileRows>& file_rows) {
    const auto set = row_set(test);
    auto results = pass(file, {test.labelled(), &test.spec}, test.calibration.get());
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      const auto& found = results[e];
      auto rows = result_rows(context(e), found.columns, known ? &(*known)[e].columns : nullptr,
                              set, test.labelled());

      if (options_.full_spectrum && known)
        for (auto& row : rows) row.split = kFullSpectrum;
      append(rows, ensemble_rows(context(e), found.diversity, set));
      file_rows[e].push_back(std::move(rows));
      if (test.labelled() && test.files.size() == 1) add_reliability(e, found.columns, set.name);
    }
    return results;
  }

  // A set of several files has the means of the files' metrics.
  void add_mean_rows(std::vector<FileRows> file_rows) {
    for (size_t e = 0; e < ensembles_.size(); ++e)
      append(rows_[e], mean_rows(std::move(file_rows[e])));
  }

  // One pass over a set for all ensembles. calibration: the set on which temperatures for this set
  // are fitted; nullptr: those of the choices.
  std::vector<PassResult> pass(const EvaluationSet& set, PassRequest request,
                               const EvaluationSet* calibration) {
    // Column groups refer to the elements of `diversity` and `classwise`, which therefore never
    // move: a vector with reserved memory, and a deque.
    std::vector<ColumnPlan> plans;
    std::vector<MemberDiversity> diversity;
    std::deque<ClasswiseErrors> classwise;
    diversity.reserve(ensembles_.size());

    // Class-wise errors compare the probability of every class with the label.
    const bool has_classwise =
        contains(options_.metrics, "ece_classwise") && request.labelled && !request.some_classes();
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      const auto calibrators =
          calibration ? fit_calibrators(comm_, ensembles_, e, predictors_[e], *calibration, config_)
                      : choices_[e].calibrators;

      plans.push_back(column_plan(ensembles_[e], predictors_[e], choices_[e].scores, states_[e],
                                  options_, calibrators, request));
      if (has_classwise) {
        classwise.emplace_back(ensembles_[e].classes(), options_);
        add_classwise(plans[e], e, calibrators, classwise.back());
      }

      if (options_.diversity.empty()) continue;
      diversity.emplace_back(ensembles_[e].members(), options_,
                             request.labelled && !request.some_classes(),
                             request.test_set ? request.test_set->classes : "");
      plans[e].groups.push_back(diversity[e].group(plans[e].units));
    }

    // One pass for all ensembles, so that inputs are read and transformed once.
    std::vector<PassResult> results;
    for (auto& columns : run_pass(comm_, set, ensembles_, plans, config_.outputs(), show_progress_))
      results.push_back({std::move(columns), {}});

    // These states are exchanged between the ranks after the pass, in the same order on all of
    // them.
    for (size_t e = 0; e < classwise.size(); ++e) classwise[e].finish(comm_, results[e].columns);
    for (size_t e = 0; e < diversity.size(); ++e)
      results[e].diversity = diversity[e].finish(comm_, results[e].columns);
    return results;
  }

  // ece_classwise of every predictor of an ensemble.
  void add_classwise(ColumnPlan& plan, size_t e, const CalibratorMap& calibrators,
                     ClasswiseErrors& classwise) const {
    for (const auto* predictor : predictors_[e].all())
      plan.groups.push_back(
          classwise.group(plan.units, *predictor, find_calibrators(calibrators, *predictor)));
  }

  bool needs_set_scores() const { return options_.plots || !options_.compare.empty(); }

  // Stores the ensemble's predictions, and scores if `scored`, on the files of a set for plots and
  // comparisons.
  void store_scores(size_t e, const std::vector<const SetColumns*>& files, const RowSet& set,
                    bool scored) {
    if (!needs_set_scores()) return;

    // predictors_of() puts the ensemble first if there are plots or comparisons.
    const auto& ensemble = predictors_[e].combined[0];
    const auto joined = [&](const auto& read) {
      std::vector<at::Tensor> pieces;
      for (const auto* file : files) pieces.push_back(read(*file));
      return at::cat(pieces);
    };

    SetScores stored{set.name, set.shift, {}, {}};
    for (const auto* file : files) stored.file_rows.push_back(file->rows());

    // Unlabelled sets have no correct predictions.
    const ColumnKey correct{ColumnKind::kCorrect, ensemble.name};
    if (files[0]->has(correct))
      stored.correct = joined([&](const SetColumns& file) { return file.at(correct); });
    if (scored)
      for (const auto& score : choices_[e].scores)
        stored.scores.push_back(joined([&](const SetColumns& file) {
          return score_values(file, ensembles_[e], ensemble, score);
        }));
    set_scores_[e].push_back(std::move(stored));
  }

  void add_saliency() {
    if (options_.saliency == 0) return;
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      EnsembleSaliency found;

      // Every rank computes the same maps; agree() turns an error of one rank into one of all.
      agree(comm_, [&] {
        found = ensemble_saliency(ensembles_[e], *sets_.id, options_.saliency, options_);
      });

      // A single member has maps but no cosine.
      if (found.cosine)
        append(rows_[e],
               ensemble_rows(context(e),
                             {{"", "saliency_cosine", *found.cosine, found.maps.label.size(0)}},
                             {sets_.id_name, Shift::kId}));
      result_.saliency.emplace_back(file_names_[e] + "-saliency", std::move(found.maps));
    }
  }

  void add_reliability(size_t e, const SetColumns& columns, const std::string& dataset) {
    for (const auto* predictor : predictors_[e].without_sub_ensembles())
      for (const auto scaling : kScalings) {
        const ColumnKey confidence{ColumnKind::kConfidence, predictor->name, scaling};

        // Only scalings that were fitted have columns.
        if (!columns.has(confidence)) continue;

        // Bins of the convention, from the confidences of the pass.
        auto bins = empty_bins(options_);
        bins.update(columns.at(confidence),
                    columns.at({ColumnKind::kCorrect, predictor->name}).ne(0));
        if (options_.plots && is_plotted(*predictor))
          add_reliability_plot(fmt::format("{}-{}-reliability", file_names_[e], file_part(dataset)),
                               reliability_points(series_name(*predictor, scaling), bins.finish()));

        for (const auto& bin : bins.finish())
          result_.reliability.push_back(
              {run_labels_[e], predictor->name, dataset, temperature_text(scaling, options_), bin});
      }
  }

  // Members that are only computed for their mean would crowd the plot.
  bool is_plotted(const Predictor& predictor) const {
    return !predictor.name.starts_with("member:") ||
           contains(options_.predictors, ReportedPredictor::kMembers);
  }

  // All series of a set are in one file.
  void add_reliability_plot(const std::string& name, std::vector<PlotPoint> points) {
    auto file = std::find_if(result_.plots.begin(), result_.plots.end(),
                             [&](const auto& other) { return other.name == name; });
    if (file == result_.plots.end()) file = result_.plots.insert(file, {name, {}});
    append(file->points, std::move(points));
  }

  // Moves the rows of all ensembles into the result, with comparisons and plots of scores.
  void collect() {
    // A diversity metric may be undefined (a mean over no pair of members); it then has no row.
    for (auto& rows : rows_)
      for (auto& row : rows)
        if (row.metric != "diversity" || std::isfinite(row.value))
          result_.rows.push_back(std::move(row));

    // All ensembles have the same scores in the same order; only searched options differ.
    append(result_.rows, comparison_rows(ensembles_, set_scores_, choices_[0].scores, options_));
    if (!options_.plots) return;
    for (size_t e = 0; e < ensembles_.size(); ++e)
      append(result_.plots,
             score_plots(file_names_[e], choices_[e].scores, set_scores_[e], options_.convention));
  }

  RowContext context(size_t e) const {
    return {ensembles_[e], options_, choices_[e], predictors_[e], sets_.chosen_on_test};
  }

  Communicator& comm_;
  const std::vector<LoadedEnsemble>& ensembles_;
  const EvaluationSets& sets_;
  const EvaluateConfig& config_;
  const EvaluateOptions& options_;
  std::vector<Choices> choices_;
  std::vector<FittedStates> states_;
  bool show_progress_;
  Evaluation& result_;
  std::vector<std::string> file_names_, run_labels_;
  // Of each ensemble.
  std::vector<PredictorSet> predictors_;
  std::vector<std::vector<ResultRow>> rows_;
  std::vector<std::vector<SetScores>> set_scores_;  // the in-distribution set first
};

}  // namespace

void evaluate_tests(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                    const EvaluationSets& sets, const EvaluateConfig& config,
                    std::vector<Choices> choices, std::vector<FittedStates> states,
                    bool show_progress, Evaluation& result) {
  TestEvaluation(comm, ensembles, sets, config, std::move(choices), std::move(states),
                 show_progress, result)
      .run();
}

}  // namespace dissent
