#include "evaluate/evaluator.hpp"

#include "data/transforms/transform.hpp"

#include <dissent/error.hpp>
#include <dissent/scores/imagenet_subset.hpp>

#include "evaluate/content_hash.hpp"

namespace dissent {
namespace {

constexpr int64_t kImagenetClasses = 1000;

// Networks and sets have to fit each other; all are checked before anything is computed.
void check_sets(const std::vector<LoadedEnsemble>& ensembles, const EvaluationSets& sets) {
  const auto check = [&](const EvaluationSet* set, bool labelled) {
    if (!set) return;
    for (const auto& ensemble : ensembles) ensemble.networks->check_input(*set, ensemble.path);
    if (labelled) set->check_labels(ensembles.front().classes());
  };
  check(sets.validation.get(), true);
  check(sets.id.get(), true);
  check(sets.fit.get(), true);
  check(sets.validation_ood.get(), false);
  for (const auto& test : sets.tests) {
    for (const auto& file : test.files) {
      check(file.get(), test.labelled() && test.spec.classes.empty());
      if (test.spec.classes.empty()) continue;
      for (const auto& ensemble : ensembles)
        DISSENT_CHECK(ensemble.classes() == kImagenetClasses, kUsage, "evaluate.sets: {}: classes = \"{}\" is of networks on ImageNet's 1,000 classes, {} has {}", test.spec.name,
                      test.spec.classes, ensemble.path, ensemble.classes());
      const auto subset = static_cast<int64_t>(scores::imagenet_subset(test.spec.classes).outputs.size());
      file->check_labels(test.spec.labels == "all" ? kImagenetClasses : subset);
    }
    check(test.calibration.get(), true);
  }
}

void check_scores(const std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options) {
  for (const auto& ensemble : ensembles)
    for (const auto& name : options.scores)
      for (const auto& score : scores::score_table())
        DISSENT_CHECK(score.name != name || ensemble.members() >= score.min_members, kUsage, "evaluate.scores: {} is of at least {} members, {} has {}", name, score.min_members,
                      ensemble.path, ensemble.members());
}

// Soups that are asked for, or that a logits cache keeps for later.
void add_soups(std::vector<LoadedEnsemble>& ensembles, const EvaluateOptions& options) {
  const bool wanted = wants(options.predictors, "soup");
  for (auto& ensemble : ensembles) {
    if (!wanted && options.logits_cache == "none") continue;
    try {
      add_soup(ensemble, "soup", all_of(ensemble.members()));
    } catch (const Error&) {
      if (wanted) throw;
    }
  }
}

// One pass that only fills the logits caches, before fits read them out of order.
void fill_caches(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles, const EvaluationSet* set, const EvaluateConfig& config, bool show_progress) {
  if (set && config.evaluate.logits_cache != "none") run_pass(comm, *set, ensembles, std::vector<ColumnPlan>(ensembles.size()), config.outputs(), show_progress);
}

class Run {
 public:
  Run(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles, const EvaluationSets& sets, const EvaluateConfig& config, std::vector<Choices> choices,
      std::vector<FittedStates> states, bool show_progress)
      : comm_(comm), ensembles_(ensembles), sets_(sets), config_(config), choices_(std::move(choices)), states_(std::move(states)), show_progress_(show_progress) {
    std::vector<FitRequest> requests;
    for (size_t e = 0; e < ensembles.size(); ++e) {
      casts_.push_back(cast_of(ensembles[e], choices_[e], config.evaluate));
      for (auto& request : fit_requests(e, casts_[e], choices_[e].scores)) requests.push_back(std::move(request));
    }
    const auto* validation = sets.validation ? sets.validation.get() : sets.id.get();
    fit_states(comm, ensembles, requests, {sets.fit.get(), validation}, config, states_);
  }

  Evaluation test(Evaluation result) {
    std::vector<std::vector<ResultRow>> rows(ensembles_.size());
    const auto id = pass(*sets_.id, {.labelled = true}, nullptr);
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      rows[e] = rows_of(context(e), id[e], nullptr, sets_.id_name, "id", true);
      add_reliability(result, e, id[e], sets_.id_name);
    }
    for (const auto& test : sets_.tests) {
      std::vector<std::vector<std::vector<ResultRow>>> files(ensembles_.size());
      for (const auto& file : test.files) {
        const auto columns = pass(*file, {test.labelled(), &test.spec}, test.calibration.get());
        for (size_t e = 0; e < ensembles_.size(); ++e) {
          const bool differs = test.spec.shift != "id" && test.spec.classes.empty();
          files[e].push_back(rows_of(context(e), columns[e], differs ? &id[e] : nullptr, test.spec.name, test.spec.shift, test.labelled()));
          if (test.labelled() && test.files.size() == 1) add_reliability(result, e, columns[e], test.spec.name);
        }
      }
      for (size_t e = 0; e < ensembles_.size(); ++e)
        for (auto& row : mean_rows(std::move(files[e]))) rows[e].push_back(std::move(row));
    }
    for (auto& part : rows)
      for (auto& row : part) result.rows.push_back(std::move(row));
    return result;
  }

 private:
  RowContext context(size_t e) const { return {ensembles_[e], config_.evaluate, choices_[e], casts_[e], sets_.chosen_on_test}; }

  std::vector<SetColumns> pass(const EvaluationSet& set, Asked asked, const EvaluationSet* calibration) {
    std::vector<ColumnPlan> plans;
    for (size_t e = 0; e < ensembles_.size(); ++e) {
      const auto calibrators = calibration ? fit_calibrators(comm_, ensembles_, e, casts_[e], *calibration, config_) : choices_[e].calibrators;
      plans.push_back(column_plan(ensembles_[e], casts_[e], choices_[e].scores, states_[e], config_.evaluate, calibrators, asked));
    }
    return run_pass(comm_, set, ensembles_, plans, config_.outputs(), show_progress_);
  }

  void add_reliability(Evaluation& result, size_t e, const SetColumns& columns, const std::string& dataset) const {
    for (const auto* list : {&casts_[e].groups, &casts_[e].singles})
      for (const auto& predictor : *list)
        for (const std::string after : {"", "@T", "@V"}) {
          const auto key = predictor.name + "|confidence" + after;
          if (!columns.has(key)) continue;
          metrics::Reliability bins(config_.evaluate.bins);
          bins.update(columns.at(key), columns.at(predictor.name + "|right").ne(0));
          for (const auto& bin : bins.finish())
            result.reliability.push_back({ensembles_[e].run, predictor.name, dataset, after.empty() ? "none" : after == "@T" ? config_.evaluate.temperature : "vector", bin});
        }
  }

  Communicator& comm_;
  const std::vector<LoadedEnsemble>& ensembles_;
  const EvaluationSets& sets_;
  const EvaluateConfig& config_;
  std::vector<Choices> choices_;
  std::vector<FittedStates> states_;
  std::vector<Cast> casts_;
  bool show_progress_;
};

}  // namespace

Evaluation evaluate(Communicator& comm, std::vector<LoadedEnsemble> ensembles, const EvaluateConfig& given, bool show_progress,
                    const std::function<void(const Evaluation&)>& record) {
  auto config = given;
  for (const auto& ensemble : ensembles)
    if (config.evaluate.transform == "auto" && !ensemble.transform.empty()) config.evaluate.transform = test_transform(ensemble.transform);
  EvaluationSets sets;
  agree(comm, [&] {
    sets = open_evaluation_sets(config);
    check_sets(ensembles, sets);
    check_scores(ensembles, config.evaluate);
    add_soups(ensembles, config.evaluate);
  });
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
  return Run(comm, ensembles, sets, config, choices, std::move(states), show_progress).test(std::move(result));
}

}  // namespace dissent
