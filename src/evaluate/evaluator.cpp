#include "evaluate/evaluator.hpp"

#include "data/datasets/folder_list.hpp"
#include "data/transforms/transform.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/imagenet_subset.hpp>

#include <cmath>
#include <deque>

#include "evaluate/classwise_error.hpp"
#include "evaluate/content_hash.hpp"
#include "evaluate/member_diversity.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr const char* kFullSpectrum = "full_spectrum";  // of ResultRow::split

constexpr int64_t kImagenetClasses = 1000;

// The classes that a run was trained on lie beside its checkpoint where they have names.
void check_class_names(const EvaluationSet& set, const std::vector<LoadedEnsemble>& ensembles) {
  for (const auto& ensemble : ensembles) {
    const auto file = (std::filesystem::path(ensemble.path).parent_path() / kRunClassFile).string();
    if (path_exists(file)) set.check_class_names(read_class_file(file), file);
  }
}

// Networks and sets have to fit each other; all are checked before anything is computed.
void check_sets(const std::vector<LoadedEnsemble>& ensembles, const EvaluationSets& sets) {
  const auto check = [&](const EvaluationSet* set, bool labelled) {
    if (!set) return;
    for (const auto& ensemble : ensembles) ensemble.networks->check_input(*set, ensemble.path);
    if (!labelled) return;
    check_class_names(*set, ensembles);
    set->check_labels(ensembles.front().classes());
  };
  check(sets.validation.get(), true);
  check(sets.id.get(), true);
  check(sets.fit.get(), true);
  check(sets.validation_ood.get(), false);
  for (const auto& test : sets.tests) {
    for (const auto& file : test.files) {
      DISSENT_CHECK(file->input_shape() == sets.id->input_shape(), kUsage,
                    "evaluate.sets: {}: expected inputs [{}] as those of the in-distribution set, "
                    "found [{}] through its transform \"{}\"",
                    test.spec.name, fmt::join(sets.id->input_shape(), ", "),
                    fmt::join(file->input_shape(), ", "), test.spec.transform);
      check(file.get(), test.labelled() && test.spec.classes.empty());
      if (test.spec.classes.empty()) continue;
      for (const auto& ensemble : ensembles)
        DISSENT_CHECK(ensemble.classes() == kImagenetClasses, kUsage,
                      "evaluate.sets: {}: classes = \"{}\" is of networks on ImageNet's 1,000 "
                      "classes, {} has {}",
                      test.spec.name, test.spec.classes, ensemble.path, ensemble.classes());
      const auto subset =
          static_cast<int64_t>(scores::imagenet_subset(test.spec.classes).outputs.size());
      file->check_labels(test.spec.labels == "all" ? kImagenetClasses : subset);
    }
    check(test.calibration.get(), true);
  }
}

void add_soups(std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options) {
  if (!wants(options.predictors, "soup")) return;
  for (auto& ensemble : ensembles) add_soup(ensemble, "soup", all_of(ensemble.members()));
}

// One pass that only fills the logits caches, before fits read them out of order.
void fill_caches(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                 const EvaluationSet* set, const EvaluateConfig& config, bool show_progress) {
  if (set && config.evaluate.logits_cache != "none")
    run_pass(comm, *set, ensembles, std::vector<ColumnPlan>(ensembles.size()), config.outputs(),
             show_progress);
}

class Run {
 public:
  Run(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles, const EvaluationSets& sets,
      const EvaluateConfig& config, std::vector<Choices> choices, std::vector<FittedStates> states,
      bool show_progress)
      : comm_(comm),
        ensembles_(ensembles),
        sets_(sets),
        config_(config),
        choices_(std::move(choices)),
        states_(std::move(states)),
        names_(file_names(ensembles)),
        show_progress_(show_progress) {
    std::vector<RunKey> runs;
    for (const auto& ensemble : ensembles)
      runs.push_back({ensemble.run, ensemble.method, ensemble.config_hash, ensemble.seed});
    labels_ = run_labels(runs);
    std::vector<FitRequest> requests;
    for (size_t e = 0; e < ensembles.size(); ++e) {
      casts_.push_back(cast_of(ensembles[e], choices_[e], config.evaluate));
      for (auto& request : fit_requests(e, casts_[e], choices_[e].scores))
        requests.push_back(std::move(request));
    }
    const auto* validation = sets.validation ? sets.validation.get() : sets.id.get();
    fit_states(comm, ensembles, requests, {sets.fit.get(), validation}, config, states_);
  }

  Evaluation test(Evaluation result) {
    rows_.resize(ensembles_.size());
    kept_.resize(ensembles_.size());
    const auto id = pass(*sets_.id, {.labelled = true}, nullptr);
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      rows_[e] = rows_of(context(e), id[e].columns, nullptr, sets_.id_name, "id", true);
      add(rows_[e], ensemble_rows(context(e), id[e].diversity, sets_.id_name, "id"));
      add_reliability(result, e, id[e].columns, sets_.id_name);
      keep(e, {&id[e].columns}, sets_.id_name, "id", true);
    }
    add_saliency(result);
    auto known = id;
    if (config_.evaluate.full_spectrum) add_full_spectrum(result, known);
    for (const auto& test : sets_.tests)
      if (!joins(test)) test_set(result, test, known, nullptr);
    for (size_t e = 0; e < ensembles_.size(); ++e)
      for (auto& row : rows_[e])
        if (row.metric != "diversity" || std::isfinite(row.value))
          result.rows.push_back(std::move(row));
    add(result.rows, comparison_rows(ensembles_, kept_, choices_[0].scores, config_.evaluate));
    for (size_t e = 0; config_.evaluate.figures && e < ensembles_.size(); ++e)
      add(result.figures,
          score_figures(names_[e], choices_[e].scores, kept_[e], config_.evaluate.convention));
    return result;
  }

 private:
  // What a pass gives for one ensemble.
  struct Passed {
    SetColumns columns;
    std::vector<Figure> diversity;
  };

  template <class T>
  static void add(std::vector<T>& to, std::vector<T> more) {
    for (auto& one : more) to.push_back(std::move(one));
  }

  RowContext context(size_t e) const {
    return {ensembles_[e], config_.evaluate, choices_[e], casts_[e], sets_.chosen_on_test};
  }

  // Whether a set is one of those that the full spectrum holds beside the in-distribution set.
  bool joins(const TestSet& test) const {
    return config_.evaluate.full_spectrum && test.spec.shift == "covariate" &&
           test.spec.classes.empty();
  }

  // Figures of each covariate set, then of all of them and the in-distribution set as one, which
  // `known` becomes.
  void add_full_spectrum(Evaluation& result, std::vector<Passed>& known) {
    for (const auto& test : sets_.tests)
      if (joins(test)) test_set(result, test, known, &known);
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      const auto name = sets_.id_name + "+covariate";
      auto rows = rows_of(context(e), known[e].columns, nullptr, name, "id", true);
      for (auto& row : rows) row.split = kFullSpectrum;
      add(rows_[e], std::move(rows));
      if (keeps()) kept_[e].clear();
      keep(e, {&known[e].columns}, name, "id", true);
    }
  }

  // Rows of a set: figures on labels, and of telling it from `known`. With `joined` the set is
  // added to that and told from nothing.
  void test_set(Evaluation& result, const TestSet& test, const std::vector<Passed>& known,
                std::vector<Passed>* joined) {
    const bool differs = !joined && test.spec.shift != "id" && test.spec.classes.empty();
    std::vector<std::vector<std::vector<ResultRow>>> files(ensembles_.size());
    std::vector<std::vector<Passed>> passed;
    for (const auto& file : test.files) {
      passed.push_back(pass(*file, {test.labelled(), &test.spec}, test.calibration.get()));
      const auto& last = passed.back();
      for (size_t e = 0; e < ensembles_.size(); ++e) {
        files[e].push_back(rows_of(context(e), last[e].columns,
                                   differs ? &known[e].columns : nullptr, test.spec.name,
                                   test.spec.shift, test.labelled()));
        if (config_.evaluate.full_spectrum && differs)
          for (auto& row : files[e].back()) row.split = kFullSpectrum;
        if (joined) (*joined)[e].columns.append(last[e].columns);
        add(files[e].back(),
            ensemble_rows(context(e), last[e].diversity, test.spec.name, test.spec.shift));
        if (test.labelled() && test.files.size() == 1)
          add_reliability(result, e, last[e].columns, test.spec.name);
      }
      if (!keeps()) passed.clear();
    }
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      add(rows_[e], mean_rows(std::move(files[e])));
      std::vector<const SetColumns*> columns;
      for (const auto& file : passed) columns.push_back(&file[e].columns);
      if (!joined) keep(e, columns, test.spec.name, test.spec.shift, differs);
    }
  }

  std::vector<Passed> pass(const EvaluationSet& set, Asked asked,
                           const EvaluationSet* calibration) {
    std::vector<ColumnPlan> plans;
    std::vector<MemberDiversity> diversity;
    std::deque<ClasswiseErrors> classwise;
    const auto& options = config_.evaluate;
    diversity.reserve(ensembles_.size());  // their groups refer to them
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      const auto calibrators =
          calibration ? fit_calibrators(comm_, ensembles_, e, casts_[e], *calibration, config_)
                      : choices_[e].calibrators;
      plans.push_back(column_plan(ensembles_[e], casts_[e], choices_[e].scores, states_[e], options,
                                  calibrators, asked));
      if (wants(options.metrics, "ece_classwise") && asked.labelled &&
          !(asked.set && !asked.set->classes.empty()))
        add_classwise(plans[e], e, calibrators, classwise);
      if (options.diversity.empty()) continue;
      const auto classes = asked.set ? asked.set->classes : "";
      diversity.emplace_back(ensembles_[e].members(), options, asked.labelled && classes.empty(),
                             classes);
      plans[e].groups.push_back(diversity[e].group(plans[e].units));
    }
    std::vector<Passed> passed;
    for (auto& columns : run_pass(comm_, set, ensembles_, plans, config_.outputs(), show_progress_))
      passed.push_back({std::move(columns), {}});
    for (size_t e = 0; e < classwise.size(); ++e) classwise[e].finish(comm_, passed[e].columns);
    for (size_t e = 0; e < diversity.size(); ++e)
      passed[e].diversity = diversity[e].finish(comm_, passed[e].columns);
    return passed;
  }

  // Of every predictor of an ensemble.
  void add_classwise(ColumnPlan& plan, size_t e, const CalibratorMap& calibrators,
                     std::deque<ClasswiseErrors>& classwise) const {
    classwise.emplace_back(ensembles_[e].classes(), config_.evaluate);
    for (const auto* list : {&casts_[e].groups, &casts_[e].singles, &casts_[e].subsets})
      for (const auto& predictor : *list) {
        const auto of = calibrators.find(predictor.name);
        plan.groups.push_back(classwise.back().group(
            plan.units, predictor, of == calibrators.end() ? Calibrators() : of->second));
      }
  }

  bool keeps() const { return config_.evaluate.figures || !config_.evaluate.compare.empty(); }

  // The ensemble's output on a set, for figures and comparisons.
  void keep(size_t e, const std::vector<const SetColumns*>& files, const std::string& name,
            const std::string& shift, bool scored) {
    if (!keeps()) return;
    const auto& ensemble = casts_[e].groups[0];
    const auto all = [&](const auto& read) {
      std::vector<at::Tensor> pieces;
      for (const auto* file : files) pieces.push_back(read(*file));
      return at::cat(pieces);
    };
    KeptSet set{name, shift, {}, {}};
    for (const auto* file : files) set.files.push_back(file->rows());
    if (files[0]->has(ensemble.name + "|right"))
      set.right = all([&](const SetColumns& file) { return file.at(ensemble.name + "|right"); });
    for (const auto& score : choices_[e].scores)
      if (scored)
        set.scores.push_back(all([&](const SetColumns& file) {
          return score_values(file, ensembles_[e], ensemble, score);
        }));
    kept_[e].push_back(std::move(set));
  }

  void add_saliency(Evaluation& result) {
    const int64_t count = config_.evaluate.saliency;
    for (size_t e = 0; count > 0 && e < ensembles_.size(); ++e) {
      EnsembleSaliency found;
      agree(comm_,
            [&] { found = ensemble_saliency(ensembles_[e], *sets_.id, count, config_.evaluate); });
      if (found.cosine)
        add(rows_[e],
            ensemble_rows(context(e),
                          {{"", "saliency_cosine", *found.cosine, found.maps.label.size(0)}},
                          sets_.id_name, "id"));
      result.saliency.emplace_back(names_[e] + "-saliency", std::move(found.maps));
    }
  }

  void add_reliability(Evaluation& result, size_t e, const SetColumns& columns,
                       const std::string& dataset) const {
    for (const auto* list : {&casts_[e].groups, &casts_[e].singles})
      for (const auto& predictor : *list)
        for (const std::string after : {"", "@T", "@V"}) {
          const auto key = predictor.name + "|confidence" + after;
          if (!columns.has(key)) continue;
          auto bins = reliability_of(config_.evaluate);
          bins.update(columns.at(key), columns.at(predictor.name + "|right").ne(0));
          if (config_.evaluate.figures && reported(predictor)) {
            const auto series = after.empty()
                                    ? predictor.name
                                    : fmt::format("{} ({})", predictor.name,
                                                  after == "@T" ? "temperature" : "vector scaling");
            reliability_figure(result,
                               fmt::format("{}-{}-reliability", names_[e], file_part(dataset)),
                               reliability_points(series, bins.finish()));
          }
          for (const auto& bin : bins.finish())
            result.reliability.push_back({labels_[e], predictor.name, dataset,
                                          after.empty()   ? "none"
                                          : after == "@T" ? config_.evaluate.temperature
                                                          : "vector",
                                          bin});
        }
  }

  // Members that were computed for the mean alone would crowd the figure.
  bool reported(const Predictor& predictor) const {
    return !predictor.name.starts_with("member:") || wants(config_.evaluate.predictors, "members");
  }

  // Series of one set stand in one file.
  static void reliability_figure(Evaluation& result, const std::string& name,
                                 std::vector<PlotPoint> points) {
    auto file = std::find_if(result.figures.begin(), result.figures.end(),
                             [&](const auto& other) { return other.name == name; });
    if (file == result.figures.end()) file = result.figures.insert(file, {name, {}});
    add(file->points, std::move(points));
  }

  Communicator& comm_;
  const std::vector<LoadedEnsemble>& ensembles_;
  const EvaluationSets& sets_;
  const EvaluateConfig& config_;
  std::vector<Choices> choices_;
  std::vector<FittedStates> states_;
  std::vector<Cast> casts_;
  std::vector<std::string> names_, labels_;   // of runs, for files and for people
  std::vector<std::vector<ResultRow>> rows_;  // of each ensemble
  std::vector<std::vector<KeptSet>> kept_;    // of each ensemble, the in-distribution set first
  bool show_progress_;
};

}  // namespace

void check_members(const EvaluateOptions& options, int64_t members, const std::string& path) {
  DISSENT_CHECK(options.weights.empty() || static_cast<int64_t>(options.weights.size()) == members,
                kUsage, "evaluate.weights: expected {} values, one a member of {}, found {}",
                members, path, options.weights.size());
  DISSENT_CHECK(options.diversity.empty() || members > 1, kUsage,
                "evaluate.diversity: expected an ensemble of at least 2 members, found {} of {}",
                path, members);
  for (const auto& name : options.scores)
    for (const auto& score : scores::score_table())
      DISSENT_CHECK(
          score.name != name || members >= score.min_members, kUsage,
          "evaluate.scores: {}: expected an ensemble of at least {} members, found {} of {}", name,
          score.min_members, path, members);
}

EvaluationSets prepare_evaluation(std::vector<LoadedEnsemble>& ensembles, EvaluateConfig& config) {
  for (const auto& ensemble : ensembles)
    if (config.evaluate.transform == "auto" && !ensemble.transform.empty())
      config.evaluate.transform = test_transform(ensemble.transform);
  auto sets = open_evaluation_sets(config);
  check_sets(ensembles, sets);
  for (const auto& ensemble : ensembles)
    check_members(config.evaluate, ensemble.members(), ensemble.path);
  check_comparison(ensembles, config.evaluate);
  add_soups(ensembles, config.evaluate);
  return sets;
}

Evaluation evaluate(Communicator& comm, std::vector<LoadedEnsemble> ensembles,
                    const EvaluateConfig& given, bool show_progress,
                    const std::function<void(const Evaluation&)>& record) {
  auto config = given;
  EvaluationSets sets;
  agree(comm, [&] { sets = prepare_evaluation(ensembles, config); });
  const bool fits = !config.evaluate.fit.empty() || sets.fit;
  if (fits) fill_caches(comm, ensembles, sets.fit.get(), config, show_progress);
  fill_caches(comm, ensembles, sets.validation.get(), config, show_progress);
  std::vector<FittedStates> states(ensembles.size());
  const auto choices = choose(comm, ensembles, sets, config, states, show_progress);
  Evaluation result;
  agree(comm, [&] {
    result.choices = choices_text(ensembles, choices, sets, config);
    if (result.choices.empty()) return;
    result.choices_hash = content_hash(result.choices);
    record(result);
  });
  return Run(comm, ensembles, sets, config, choices, std::move(states), show_progress)
      .test(std::move(result));
}

}  // namespace dissent
