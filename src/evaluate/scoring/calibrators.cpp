#include "evaluate/scoring/calibrators.hpp"

#include <spdlog/spdlog.h>
#include <dissent/scores/temperature.hpp>

#include <algorithm>
#include <cstdint>
#include <variant>

#include "evaluate/scoring/fitted_states.hpp"

namespace dissent {
namespace {

// SDDE's golden section may leave this range on unusual data; the result is clamped to it.
constexpr scores::TemperatureBounds kBounds;

std::vector<FitTarget> calibration_targets(const EvaluateOptions& options) {
  std::vector<FitTarget> targets;
  if (options.temperature != TemperatureMethod::kNone) {
    const auto& post = scores::find_postprocessor("temp_scaling");

    // A score temp_scaling with the same options has the same state, which is then fitted once.
    PostprocessorFit temperature{&post, ScoreForm::kOutput, post.default_options};
    scores::set_option(post, temperature.options, "convention", option_name(options.temperature));
    targets.emplace_back(std::move(temperature));
  }

  // Vector scaling and conformal sets have no options of their own.
  if (options.vector_scaling) targets.emplace_back(VectorScalingFit{});
  if (options.conformal != ConformalMethod::kNone) targets.emplace_back(ConformalFit{});
  return targets;
}

struct BoundedTemperature {
  double value;
  scores::TemperatureEnd end;
};

// OpenOOD uses what its search returns, which may even be negative.
BoundedTemperature bounded_temperature(const scores::State& state, TemperatureMethod method) {
  const double found = state.at("temperature").item<double>();
  const double inside = std::clamp(found, kBounds.lowest, kBounds.highest);
  auto end = static_cast<scores::TemperatureEnd>(state.at("end").item<int64_t>());
  if (found < inside) end = scores::TemperatureEnd::kLowerBound;
  if (found > inside) end = scores::TemperatureEnd::kUpperBound;
  return {method == TemperatureMethod::kOpenood ? found : inside, end};
}

}  // namespace

Calibrators find_calibrators(const CalibratorMap& calibrators, const Predictor& predictor) {
  const auto found = calibrators.find(predictor.name);
  return found == calibrators.end() ? Calibrators() : found->second;
}

metrics::ConformalOptions conformal_options(const EvaluateOptions& options) {
  if (options.conformal == ConformalMethod::kRaps)
    return metrics::raps_options(options.conformal_level);
  metrics::ConformalOptions aps;
  aps.level = options.conformal_level;
  return aps;
}

CalibratorMap fit_calibrators(Communicator& comm, const std::vector<LoadedEnsemble>& ensembles,
                              size_t e, const PredictorSet& predictors, const EvaluationSet& set,
                              const EvaluateConfig& config) {
  const auto& options = config.evaluate;
  const auto targets = calibration_targets(options);

  // Every predictor that is reported has a calibration of its own; sub-ensembles have none.
  std::vector<FitRequest> requests;
  for (const auto* predictor : predictors.without_sub_ensembles())
    for (const auto& target : targets) requests.push_back({e, *predictor, target});
  std::vector<FittedStates> states(ensembles.size());
  fit_states(comm, ensembles, requests, {nullptr, &set}, config, states);

  CalibratorMap calibrators;
  for (const auto& request : requests) {
    const auto& state = states[e].at(state_key(request.predictor, request.target));
    auto& fitted = calibrators[request.predictor.name];
    if (std::holds_alternative<VectorScalingFit>(request.target)) {
      fitted.vector = scores::VectorScaling{.scale = state.at("scale"), .shift = state.at("shift")};
      continue;
    }
    if (std::holds_alternative<ConformalFit>(request.target)) {
      fitted.conformal = state.at("quantile").item<double>();
      continue;
    }

    // A temperature at a bound is valid, but says that the data did not determine it.
    const auto temperature = bounded_temperature(state, options.temperature);
    fitted.temperature = temperature.value;
    if (temperature.end != scores::TemperatureEnd::kInside && comm.rank() == 0)
      spdlog::warn("event=temperature run={} predictor={} temperature={} end=\"{}\"",
                   ensembles[e].run, request.predictor.name, temperature.value,
                   scores::temperature_end_name(temperature.end));
  }
  return calibrators;
}

}  // namespace dissent
