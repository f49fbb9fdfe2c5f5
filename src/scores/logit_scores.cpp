// Post-processors on logits; openmax is in openmax.cpp.
#include <dissent/scores/logit_scores.hpp>

#include <cstdint>
#include <limits>

#include "core/tensor_check.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"

namespace dissent::scores {
namespace {

template <class F>
at::Tensor score_logits(const char* name, const at::Tensor& logits, int64_t classes, F f) {
  return score_rows({name, {}, logits, 0, classes},
                    [&](const at::Tensor&, const at::Tensor& z) { return f(z); });
}

at::Tensor number(double value) { return at::scalar_tensor(value, at::kDouble); }

}  // namespace

at::Tensor score_msp(const State&, const at::Tensor&, const at::Tensor& logits) {
  return score_logits("msp", logits, -1,
                      [](const at::Tensor& z) { return at::softmax(z, 1).amax(1); });
}

at::Tensor score_maxlogit(const State&, const at::Tensor&, const at::Tensor& logits) {
  return score_logits("maxlogit", logits, -1, [](const at::Tensor& z) { return z.amax(1); });
}

State fit_energy(const FitData&, const EnergyOptions& options) {
  DISSENT_CHECK(options.temperature > 0, kUsage,
                "energy: temperature: expected a number above 0, found {}", options.temperature);
  return {{"temperature", number(options.temperature)}};
}

at::Tensor score_energy(const State& state, const at::Tensor&, const at::Tensor& logits) {
  const double t = number_from_state("energy", state, "temperature");
  return score_logits("energy", logits, -1,
                      [&](const at::Tensor& z) { return (z / t).logsumexp(1) * t; });
}

State fit_gen(const FitData&, const GenOptions& options) {
  DISSENT_CHECK(options.gamma > 0, kUsage, "gen: gamma: expected a number above 0, found {}",
                options.gamma);
  DISSENT_CHECK(options.m >= 0, kUsage, "gen: m: expected 0 or more, found {}", options.m);
  return {{"gamma", number(options.gamma)}, {"m", at::scalar_tensor(options.m, at::kLong)}};
}

at::Tensor score_gen(const State& state, const at::Tensor&, const at::Tensor& logits) {
  const double gamma = number_from_state("gen", state, "gamma");
  const auto m = count_from_state("gen", state, "m");
  return score_logits("gen", logits, -1, [&](const at::Tensor& z) {
    auto p = at::softmax(z, 1);

    // Only the m largest probabilities count.
    if (m > 0 && m < p.size(1)) p = std::get<0>(p.topk(m, 1));
    return (p.pow(gamma) * (1 - p).pow(gamma)).sum(1).neg();
  });
}

State fit_temp_scaling(const FitData& data, const TempScalingOptions& options) {
  const auto logits = checked_logits("temp_scaling", "validation", data.validation, data.head);
  const auto labels = checked_labels("temp_scaling", "validation", data.validation, logits.size(0),
                                     logits.size(1), logits.device());

  // Three conventions of the same quantity, with different search methods.
  const TemperatureBounds bounds{options.lowest, options.highest};

  const auto fit = options.convention == TemperatureConvention::kOpenood
                       ? fit_temperature_openood(logits, labels)
                   : options.convention == TemperatureConvention::kSdde
                       ? fit_temperature_sdde(logits, labels, 1e-3, bounds)
                       : fit_temperature(logits, labels, bounds);

  // nll and end are not read by the score: they say how well the temperature was determined.
  return {{"temperature", number(fit.temperature).unsqueeze(0)},
          {"nll", number(fit.nll)},
          {"end", at::scalar_tensor(static_cast<int64_t>(fit.end), at::kLong)}};
}

at::Tensor score_temp_scaling(const State& state, const at::Tensor&, const at::Tensor& logits) {
  const double t = number_from_state("temp_scaling", state, "temperature");
  return score_logits("temp_scaling", logits, -1,
                      [&](const at::Tensor& z) { return at::softmax(z / t, 1).amax(1); });
}

State fit_klm(const FitData& data) {
  const auto logits = checked_logits("klm", "validation", data.validation, data.head);
  const auto classes = logits.size(1);

  // Means of the predictions by predicted class.
  auto sum = at::zeros({classes, classes}, logits.options().dtype(at::kDouble)),
       count = at::zeros({classes, 1}, sum.options());
  for_blocks(logits, kBlockRows, [&](const at::Tensor& block, int64_t) {
    const auto predicted = block.argmax(1);
    sum.index_add_(0, predicted, at::softmax(block, 1));
    count.index_add_(0, predicted, at::ones({block.size(0), 1}, sum.options()));
  });
  return {{"templates",
           at::where(count.gt(0), sum / count.clamp_min(1), at::eye(classes, sum.options()))}};
}

at::Tensor score_klm(const State& state, const at::Tensor&, const at::Tensor& logits) {
  const auto& templates = from_state("klm", state, "templates");

  // Products for all templates at once: sum p log p - sum p log t, and the mass of p where t is 0.
  const auto zero = templates.eq(0);
  const auto log_t = templates.masked_fill(zero, 1).log().t(),
             where_zero = zero.to(at::kDouble).t();
  return score_logits("klm", logits, templates.size(0), [&](const at::Tensor& z) {
    // A template of 0 where p > 0 makes the divergence infinite; the logarithm there was set to
    // 0, to avoid 0 x -inf = NaN where p is 0 too.
    const auto p = at::softmax(z, 1);
    const auto kl = at::xlogy(p, p).sum(1, true) - at::mm(p, log_t);
    return kl.masked_fill(at::mm(p, where_zero).gt(0), std::numeric_limits<double>::infinity())
        .amin(1)
        .neg();
  });
}

}  // namespace dissent::scores
