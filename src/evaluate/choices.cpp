// Choices on validation sets: members, soups, options, temperatures.
#include <spdlog/spdlog.h>
#include <dissent/error.hpp>
#include <dissent/scores/temperature.hpp>

#include "evaluate/content_hash.hpp"
#include "evaluate/evaluator.hpp"
#include "evaluate/greedy.hpp"

namespace dissent {
namespace {

constexpr scores::TemperatureBounds
    kBounds;  // SDDE's golden section leaves them on odd data: it is kept inside

const scores::PostprocessorInfo& searched_info(const PlannedScore& score) {
  return score.post ? *score.post : scores::find_postprocessor(score.shaping);
}

// The score with each combination of values that OpenOOD tries, under a name of its own.
std::vector<PlannedScore> candidates_of(const PlannedScore& score) {
  if (!score.post && score.shaping.empty()) return {};
  const auto& info = searched_info(score);
  const auto settings = scores::search_settings(info);
  std::vector<PlannedScore> candidates;
  for (const auto& setting : settings) {
    if (setting.empty()) continue;
    auto candidate = score;
    for (const auto& [key, value] : setting)
      scores::set_option(info, candidate.options, key, value);
    candidate.name = fmt::format("{} ({})", score.name, options_text(candidate));
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

// Fits the candidates; those that cannot be fitted (more neighbours than rows, ..) are left out.
// All at once, or one by one if one is refused.
std::vector<PlannedScore> fit_candidates(Communicator& comm,
                                         const std::vector<LoadedEnsemble>& ensembles, size_t e,
                                         const Cast& cast,
                                         const std::vector<PlannedScore>& candidates,
                                         const FitSets& sets, const EvaluateConfig& config,
                                         std::vector<FittedStates>& states) {
  const auto fits = [&](const std::vector<PlannedScore>& some) {
    try {
      fit_states(comm, ensembles, fit_requests(e, cast, some), sets, config, states);
      return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUsage) throw;
      if (some.size() == 1 && comm.rank() == 0)
        spdlog::info("event=setting_left_out score=\"{}\" reason=\"{}\"", some[0].name,
                     error.what());
      return false;
    }
  };
  if (fits(candidates)) return candidates;
  std::vector<PlannedScore> possible;
  for (const auto& candidate : candidates)
    if (fits({candidate})) possible.push_back(candidate);
  return possible;
}

void search_options(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                    const EvaluationSets& sets, const EvaluationSet& validation,
                    const EvaluateConfig& config, std::vector<FittedStates>& states,
                    std::vector<Choices>& choices, bool show_progress) {
  auto options = config.evaluate;
  options.predictors = {"ensemble"};
  options.sub_ensembles = 0;
  options.diversity.clear();
  options.figures = false;
  std::vector<std::vector<std::vector<PlannedScore>>> tried(
      ensembles.size());  // [ensemble][score][candidate]
  std::vector<ColumnPlan> plans;
  std::vector<Cast> casts;
  for (size_t e = 0; e < ensembles.size(); ++e) {
    Choices wide;
    for (const auto& score : choices[e].scores) {
      tried[e].push_back(candidates_of(score));
      wide.scores.insert(wide.scores.end(), tried[e].back().begin(), tried[e].back().end());
    }
    casts.push_back(cast_of(ensembles[e], wide, options));
    std::vector<PlannedScore> all;
    for (auto& of_score : tried[e]) {
      of_score = fit_candidates(comm, ensembles, e, casts[e], of_score,
                                {sets.fit.get(), &validation}, config, states);
      all.insert(all.end(), of_score.begin(), of_score.end());
    }
    plans.push_back(column_plan(ensembles[e], casts[e], all, states[e], options, {}, {}));
  }
  const auto id = run_pass(comm, validation, ensembles, plans, config.outputs(), show_progress);
  const auto ood =
      run_pass(comm, *sets.validation_ood, ensembles, plans, config.outputs(), show_progress);
  for (size_t e = 0; e < ensembles.size(); ++e)
    for (size_t s = 0; s < tried[e].size(); ++s) {
      double most = -1;
      auto& score = choices[e].scores[s];
      for (const auto& candidate : tried[e][s]) {
        const auto& group = casts[e].groups[0];
        const double auroc = auroc_of(score_values(id[e], ensembles[e], group, candidate),
                                      score_values(ood[e], ensembles[e], group, candidate),
                                      candidate, options.convention, sets.validation_ood->place());
        if (auroc <= most) continue;
        most = auroc;
        score.options = candidate.options;
      }
      DISSENT_CHECK(tried[e][s].empty() == (most < 0), kInternal, "no setting of {} was scored",
                    score.name);
      if (most >= 0) choices[e].searched[score.name] = most;
    }
}

void choose_members(Communicator& comm, LoadedEnsemble& ensemble, const EvaluationSet& set,
                    bool is_validation, const EvaluateConfig& config, Choices& choice) {
  const auto& predictors = config.evaluate.predictors;
  const bool best = wants(predictors, "best") && is_validation,
             greedy = wants(predictors, "greedy"), soup = wants(predictors, "greedy_soup");
  if (!best && !greedy && !soup) return;
  const auto right = member_counts(comm, ensemble, set, config);
  if (best) choice.best = std::max_element(right.begin(), right.end()) - right.begin();
  if (greedy) choice.greedy = greedy_members(comm, ensemble, set, config, right);
  if (!soup) return;
  choice.greedy_soup = greedy_soup(comm, ensemble, set, config, right);
  agree(comm, [&] { add_soup(ensemble, "greedy_soup", choice.greedy_soup); });
}

// What is fitted for probabilities, as scores that fit_states knows.
std::vector<PlannedScore> calibration_scores(const EvaluateOptions& options) {
  std::vector<PlannedScore> scores;
  if (options.temperature != "none") {
    const auto& info = scores::find_postprocessor("temp_scaling");
    scores.push_back({.name = "temperature",
                      .info = nullptr,
                      .post = &info,
                      .shaping = {},
                      .form = "output",
                      .options = info.default_options});
    scores::set_option(info, scores.back().options, "convention", options.temperature);
  }
  if (options.vector_scaling)
    scores.push_back({.name = "vector",
                      .info = nullptr,
                      .post = nullptr,
                      .shaping = "vector",
                      .form = "output",
                      .options = {}});
  if (options.conformal != "none")
    scores.push_back({.name = "conformal",
                      .info = nullptr,
                      .post = nullptr,
                      .shaping = "conformal",
                      .form = "output",
                      .options = {}});
  return scores;
}

std::string calibrators_text(const Calibrators& fitted) {
  std::vector<std::string> parts;
  if (fitted.temperature)
    parts.push_back(fmt::format("temperature = {}", toml_text(*fitted.temperature)));
  if (fitted.vector) {
    ContentHash hash;
    hash.add(fitted.vector->scale);
    hash.add(fitted.vector->shift);
    parts.push_back(fmt::format("vector = \"{}\"", hash.text()));
  }
  if (fitted.conformal)
    parts.push_back(fmt::format("conformal = {}", toml_text(*fitted.conformal)));
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

CalibratorMap fit_calibrators(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                              size_t e, const Cast& cast, const EvaluationSet& set,
                              const EvaluateConfig& config) {
  const auto& options = config.evaluate;
  const auto wanted = calibration_scores(options);
  std::vector<FitRequest> requests;
  for (const auto* list : {&cast.groups, &cast.singles})
    for (const auto& predictor : *list)
      for (const auto& score : wanted) requests.push_back({e, predictor, score});
  std::vector<FittedStates> states(ensembles.size());
  fit_states(comm, ensembles, requests, {nullptr, &set}, config, states);
  CalibratorMap calibrators;
  for (const auto& request : requests) {
    const auto& state = states[e].at(state_key(request.predictor, request.score));
    auto& fitted = calibrators[request.predictor.name];
    if (request.score.name == "vector")
      fitted.vector = scores::VectorScaling{.scale = state.at("scale"), .shift = state.at("shift")};
    if (request.score.name == "conformal") fitted.conformal = state.at("quantile").item<double>();
    if (request.score.name != "temperature") continue;
    const double found = state.at("temperature").item<double>(),
                 inside = std::clamp(found, kBounds.lowest, kBounds.highest);
    fitted.temperature = options.temperature == "openood" ? found : inside;
    auto end = static_cast<scores::TemperatureEnd>(state.at("end").item<int64_t>());
    if (found != inside)
      end = found < inside ? scores::TemperatureEnd::kLowerBound
                           : scores::TemperatureEnd::kUpperBound;
    if (end != scores::TemperatureEnd::kInside && comm.rank() == 0)
      spdlog::warn("event=temperature run={} predictor={} temperature={} end=\"{}\"",
                   ensembles[e].run, request.predictor.name, *fitted.temperature,
                   scores::temperature_end_name(end));
  }
  return calibrators;
}

std::vector<Choices> choose(Communicator& comm, std::vector<LoadedEnsemble>& ensembles,
                            const EvaluationSets& sets, const EvaluateConfig& config,
                            std::vector<FittedStates>& states, bool show_progress) {
  std::vector<Choices> choices(ensembles.size());
  const auto& set =
      sets.validation ? *sets.validation : *sets.id;  // without one, and where that is allowed
  for (size_t e = 0; e < ensembles.size(); ++e) {
    choose_members(comm, ensembles[e], set, sets.validation != nullptr, config, choices[e]);
    choices[e].scores = plan_scores(config);
  }
  if (config.evaluate.search)
    search_options(comm, ensembles, sets, set, config, states, choices, show_progress);
  for (size_t e = 0; e < ensembles.size(); ++e)
    choices[e].calibrators = fit_calibrators(
        comm, ensembles, e, cast_of(ensembles[e], choices[e], config.evaluate), set, config);
  return choices;
}

std::string choices_text(const std::vector<LoadedEnsemble>& ensembles,
                         const std::vector<Choices>& choices, const EvaluationSets& sets,
                         const EvaluateConfig& config) {
  const auto of = [](const EvaluationSet* set) {
    return set ? set->place() + " " + set->identity() : std::string();
  };
  const bool any = !config.evaluate.weights.empty() ||
                   std::any_of(choices.begin(), choices.end(), [](const Choices& c) {
                     return c.best >= 0 || !c.greedy.empty() || !c.greedy_soup.empty() ||
                            !c.calibrators.empty() || !c.searched.empty();
                   });
  if (!any) return "";
  std::string text = "# What was chosen before test sets were scored\n";
  for (size_t e = 0; e < ensembles.size(); ++e) {
    const auto& choice = choices[e];
    text += fmt::format(
        "\n[[choice]]\nrun = {}\nensemble = \"{}\"\nvalidation = {}\nvalidation_ood = "
        "{}\non_test_set = {}\n",
        toml_text(ensembles[e].run), ensembles[e].identity, toml_text(of(sets.validation.get())),
        toml_text(of(sets.validation_ood.get())), sets.chosen_on_test);
    if (choice.best >= 0) text += fmt::format("best = {}\n", choice.best);
    if (!choice.greedy.empty())
      text += fmt::format("greedy = [{}]\n", fmt::join(choice.greedy, ", "));
    if (!choice.greedy_soup.empty())
      text += fmt::format("greedy_soup = [{}]\n", fmt::join(choice.greedy_soup, ", "));
    if (!config.evaluate.weights.empty())
      text += fmt::format("weights = [{}]\n", fmt::join(config.evaluate.weights, ", "));
    if (!choice.calibrators.empty()) text += "[choice.calibration]\n";
    for (const auto& [predictor, fitted] : choice.calibrators)
      text += fmt::format("\"{}\" = {{ {} }}\n", predictor, calibrators_text(fitted));
    if (!choice.searched.empty()) text += "[choice.options]\n";
    for (const auto& score : choice.scores)
      if (choice.searched.contains(score.name))
        text +=
            fmt::format("\"{}\" = {{ options = {}, auroc = {} }}\n", score.name,
                        toml_text(options_text(score)), toml_text(choice.searched.at(score.name)));
  }
  return text;
}

}  // namespace dissent
