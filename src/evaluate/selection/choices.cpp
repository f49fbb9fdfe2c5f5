// Choices on validation sets: members, soups, options, temperatures.
#include "evaluate/selection/choices.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <dissent/error.hpp>

#include "evaluate/selection/greedy.hpp"
#include "evaluate/subjects/content_hash.hpp"
#include "evaluate/values/column_plan.hpp"

namespace dissent {
namespace {

const scores::PostprocessorInfo& searched_postprocessor(const PlannedScore& score) {
  return score.post ? *score.post : scores::find_postprocessor(option_name(score.shaping));
}

// The score with each combination of values that OpenOOD's search tries, each with its own name.
std::vector<PlannedScore> candidates_of(const PlannedScore& score) {
  if (!score.fit_target()) return {};
  const auto& info = searched_postprocessor(score);
  std::vector<PlannedScore> candidates;

  // The empty setting stands for a post-processor without a search.
  for (const auto& setting : scores::search_settings(info)) {
    if (setting.empty()) continue;
    auto candidate = score;
    for (const auto& [key, value] : setting)
      scores::set_option(info, candidate.options, key, value);
    candidate.name = fmt::format("{} ({})", score.name, candidate.options_text());
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

// The search of score options for all ensembles: the largest AUROC of the ensemble's score,
// validation against the sets of role validation_ood.
class OptionSearch {
 public:
  OptionSearch(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
               const EvaluationSets& sets, const EvaluationSet& validation,
               const EvaluateConfig& config, std::vector<FittedStates>& states)
      : comm_(comm),
        ensembles_(ensembles),
        sets_(sets),
        validation_(validation),
        config_(config),
        states_(states),
        options_(config.evaluate) {
    // Only the ensemble is needed: its AUROC decides.
    options_.predictors = {ReportedPredictor::kEnsemble};
    options_.sub_ensembles = 0;
    options_.diversity.clear();
    options_.plots = false;
  }

  void run(std::vector<Choices>& choices, bool show_progress) {
    std::vector<ColumnPlan> plans;
    for (size_t e = 0; e < ensembles_.size(); ++e) plans.push_back(plan(e, choices[e].scores));

    // Both passes compute the scores of all candidates at once.
    const auto id =
        run_pass(comm_, validation_, ensembles_, plans, config_.outputs(), show_progress);
    const auto ood =
        run_pass(comm_, *sets_.validation_ood, ensembles_, plans, config_.outputs(), show_progress);
    for (size_t e = 0; e < ensembles_.size(); ++e)
      for (size_t s = 0; s < choices[e].scores.size(); ++s)
        choose_options(e, s, id[e], ood[e], choices[e]);
  }

 private:
  // Fits the candidates of all scores of an ensemble, and plans their columns.
  ColumnPlan plan(size_t e, const std::vector<PlannedScore>& scores) {
    std::vector<std::vector<PlannedScore>> of_ensemble;
    std::vector<PlannedScore> all;
    for (const auto& score : scores) {
      of_ensemble.push_back(candidates_of(score));
      all.insert(all.end(), of_ensemble.back().begin(), of_ensemble.back().end());
    }

    // Predictors depend on the kinds of scores: some need the members' own scores.
    predictors_.push_back(predictors_of(ensembles_[e], all, {}, options_));

    std::vector<PlannedScore> fitted;
    for (auto& candidates : of_ensemble) {
      candidates = fit_candidates(e, candidates);
      fitted.insert(fitted.end(), candidates.begin(), candidates.end());
    }
    candidates_.push_back(std::move(of_ensemble));
    return column_plan(ensembles_[e], predictors_[e], fitted, states_[e], options_, {}, {});
  }

  // Fits all candidates of a score at once, or one by one if one is refused (more neighbours than
  // rows, ..). Those that cannot be fitted are left out.
  std::vector<PlannedScore> fit_candidates(size_t e, const std::vector<PlannedScore>& candidates) {
    if (try_to_fit(e, candidates)) return candidates;
    std::vector<PlannedScore> possible;
    for (const auto& candidate : candidates)
      if (try_to_fit(e, {candidate})) possible.push_back(candidate);
    return possible;
  }

  bool try_to_fit(size_t e, const std::vector<PlannedScore>& candidates) {
    try {
      // fit_states() agrees on errors, so all ranks come to the same answer.
      fit_states(comm_, ensembles_, fit_requests(e, predictors_[e], candidates),
                 {sets_.fit.get(), &validation_}, config_, states_);
      return true;
    } catch (const Error& error) {
      // Only a refusal of the options is expected here.
      if (error.kind() != ErrorKind::kUsage) throw;
      if (candidates.size() == 1 && comm_.rank() == 0)
        spdlog::info("event=setting_left_out score=\"{}\" reason=\"{}\"", candidates[0].name,
                     error.what());
      return false;
    }
  }

  // The first candidate of the largest AUROC.
  void choose_options(size_t e, size_t s, const SetColumns& id, const SetColumns& ood,
                      Choices& choice) {
    // Columns are the same on all ranks, so all choose the same candidate.
    const auto& candidates = candidates_[e][s];
    const auto& ensemble = predictors_[e].combined[0];
    auto& score = choice.scores[s];
    double largest = -1;
    for (const auto& candidate : candidates) {
      const double auroc = auroc_of(score_values(id, ensembles_[e], ensemble, candidate),
                                    score_values(ood, ensembles_[e], ensemble, candidate),
                                    candidate, options_.convention, sets_.validation_ood->place());
      if (auroc <= largest) continue;
      largest = auroc;
      score.options = candidate.options;
    }

    // A score without a search has no candidates and keeps the options of the configuration.
    DISSENT_CHECK(candidates.empty() == (largest < 0), kInternal,
                  "{}: expected an AUROC of a setting, found none", score.name);
    if (largest >= 0) choice.searched[score.name] = largest;
  }

  Communicator& comm_;
  const std::vector<LoadedEnsemble>& ensembles_;
  const EvaluationSets& sets_;
  const EvaluationSet& validation_;
  const EvaluateConfig& config_;
  std::vector<FittedStates>& states_;
  EvaluateOptions options_;  // for the ensemble alone
  std::vector<PredictorSet> predictors_;
  std::vector<std::vector<std::vector<PlannedScore>>> candidates_;  // [ensemble][score][candidate]
};

void choose_members(Communicator& comm, LoadedEnsemble& ensemble, const EvaluationSet& set,
                    bool is_validation, const EvaluateConfig& config, Choices& choice) {
  const auto& predictors = config.evaluate.predictors;

  // Without a validation set `best` is found on each test set, as SED's release does
  // (result_rows).
  const bool best = contains(predictors, ReportedPredictor::kBest) && is_validation;
  const bool greedy = contains(predictors, ReportedPredictor::kGreedy);
  const bool soup = contains(predictors, ReportedPredictor::kGreedySoup);
  if (!best && !greedy && !soup) return;

  const auto correct = member_counts(comm, ensemble, set, config);
  if (best) choice.best = std::max_element(correct.begin(), correct.end()) - correct.begin();
  if (greedy) choice.greedy = greedy_members(comm, ensemble, set, config, correct);
  if (!soup) return;
  choice.greedy_soup = greedy_soup(comm, ensemble, set, config, correct);
  agree(comm, [&] { add_soup(ensemble, ReportedPredictor::kGreedySoup, choice.greedy_soup); });
}

std::string calibrators_text(const Calibrators& fitted) {
  std::vector<std::string> parts;
  if (fitted.temperature)
    parts.push_back(fmt::format("temperature = {}", toml_text(*fitted.temperature)));
  if (fitted.vector) {
    // 2 C numbers: their hash is recorded.
    ContentHash hash;
    hash.add(fitted.vector->scale);
    hash.add(fitted.vector->shift);
    parts.push_back(fmt::format("vector = \"{}\"", hash.text()));
  }
  if (fitted.conformal)
    parts.push_back(fmt::format("conformal = {}", toml_text(*fitted.conformal)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

bool chose_anything(const Choices& choice) {
  return choice.best >= 0 || !choice.greedy.empty() || !choice.greedy_soup.empty() ||
         !choice.calibrators.empty() || !choice.searched.empty();
}

// The tables of one ensemble.
std::string choice_text(const LoadedEnsemble& ensemble, const Choices& choice,
                        const EvaluationSets& sets, const EvaluateConfig& config) {
  const auto set_text = [](const EvaluationSet* set) {
    return toml_text(set ? set->place() + " " + set->identity() : std::string());
  };
  auto text = fmt::format(
      "\n[[choice]]\nrun = {}\nensemble = \"{}\"\nvalidation = {}\nvalidation_ood = "
      "{}\non_test_set = {}\n",
      toml_text(ensemble.run), ensemble.identity, set_text(sets.validation.get()),
      set_text(sets.validation_ood.get()), sets.chosen_on_test);
  if (choice.best >= 0) text += fmt::format("best = {}\n", choice.best);
  if (!choice.greedy.empty())
    text += fmt::format("greedy = [{}]\n", fmt::join(choice.greedy, ", "));
  if (!choice.greedy_soup.empty())
    text += fmt::format("greedy_soup = [{}]\n", fmt::join(choice.greedy_soup, ", "));
  if (!config.evaluate.weights.empty())
    text += fmt::format("weights = [{}]\n", fmt::join(config.evaluate.weights, ", "));

  if (!choice.calibrators.empty()) text += "[choice.calibration]\n";

  // Maps are sorted by name, so equal choices have equal texts and one hash.
  for (const auto& [predictor, fitted] : choice.calibrators)
    text += fmt::format("\"{}\" = {{ {} }}\n", predictor, calibrators_text(fitted));

  if (!choice.searched.empty()) text += "[choice.options]\n";
  for (const auto& score : choice.scores)
    if (choice.searched.contains(score.name))
      text +=
          fmt::format("\"{}\" = {{ options = {}, auroc = {} }}\n", score.name,
                      toml_text(score.options_text()), toml_text(choice.searched.at(score.name)));
  return text;
}

}  // namespace

std::vector<Choices> choose(Communicator& comm, std::vector<LoadedEnsemble>& ensembles,
                            const EvaluationSets& sets, const EvaluateConfig& config,
                            std::vector<FittedStates>& states, bool show_progress) {
  // Without a validation set the choices are made on the test set, which the configuration allows.
  const auto& set = sets.validation ? *sets.validation : *sets.id;
  std::vector<Choices> choices(ensembles.size());
  for (size_t e = 0; e < ensembles.size(); ++e) {
    choose_members(comm, ensembles[e], set, sets.validation != nullptr, config, choices[e]);
    choices[e].scores = plan_scores(config);
  }

  if (config.evaluate.search)
    OptionSearch(comm, ensembles, sets, set, config, states).run(choices, show_progress);

  // Last, as what is calibrated depends on the chosen members.
  for (size_t e = 0; e < ensembles.size(); ++e) {
    const auto predictors =
        predictors_of(ensembles[e], choices[e].scores, choices[e].greedy, config.evaluate);
    choices[e].calibrators = fit_calibrators(comm, ensembles, e, predictors, set, config);
  }
  return choices;
}

std::string choices_text(const std::vector<LoadedEnsemble>& ensembles,
                         const std::vector<Choices>& choices, const EvaluationSets& sets,
                         const EvaluateConfig& config) {
  const bool any = !config.evaluate.weights.empty() ||
                   std::any_of(choices.begin(), choices.end(), chose_anything);
  if (!any) return "";
  std::string text = "# Selections made before evaluating test sets\n";
  for (size_t e = 0; e < ensembles.size(); ++e)
    text += choice_text(ensembles[e], choices[e], sets, config);
  return text;
}

}  // namespace dissent
