#include <dissent/scores/shaped_energy.hpp>
#include <dissent/scores/shaping.hpp>

#include "core/tensor_check.hpp"
#include "scores/fit_data.hpp"
#include "scores/score_rows.hpp"

namespace dissent::scores {
namespace {

at::Tensor scalar_of(double value) { return at::scalar_tensor(value, at::kDouble); }

State head_state(const char* name, const LinearHead& given) {
  // Any dimension will do here: features are compared with it when they are scored.
  const auto head = checked_head(name, given, given.weight.defined() ? given.weight.size(-1) : 0);
  return {{"weight", head.weight}, {"bias", head.bias}};
}

// How features [B, D] f64 are changed by this state.
using Change = at::Tensor (*)(const State&, const at::Tensor&);

at::Tensor change_react(const State& state, const at::Tensor& h) {
  return react(h, number_from_state("react", state, "threshold"));
}
at::Tensor change_ash_p(const State& state, const at::Tensor& h) {
  return ash_p(h, number_from_state("ash_p", state, "percentile"));
}
at::Tensor change_ash_b(const State& state, const at::Tensor& h) {
  return ash_b(h, number_from_state("ash_b", state, "percentile"));
}
at::Tensor change_ash_s(const State& state, const at::Tensor& h) {
  return ash_s(h, number_from_state("ash_s", state, "percentile"));
}
at::Tensor change_scale(const State& state, const at::Tensor& h) {
  return scale(h, number_from_state("scale", state, "percentile"));
}
at::Tensor change_vra(const State& state, const at::Tensor& h) {
  return vra(h, number_from_state("vra", state, "threshold_low"),
             number_from_state("vra", state, "threshold_high"));
}
at::Tensor change_nothing(const State&, const at::Tensor& h) { return h; }

at::Tensor changed_logits(const char* name, const State& state, const at::Tensor& features,
                          Change change) {
  const auto &weight = from_state(name, state, "weight"), &bias = from_state(name, state, "bias");
  DISSENT_CHECK(features.defined() && features.dim() == 2 && features.size(1) == weight.size(1),
                kUsage, "{}: features: expected [N, {}], found {}", name, weight.size(1),
                describe(features));
  return head_logits(change(state, features.detach().to(at::kDouble)), weight, bias);
}

at::Tensor changed_energy(const char* name, const State& state, const at::Tensor& features,
                          Change change) {
  return score_rows({name, features, {}, from_state(name, state, "weight").size(1), 0},
                    [&](const at::Tensor& h, const at::Tensor&) {
                      return changed_logits(name, state, h, change).logsumexp(1);
                    });
}

}  // namespace

State fit_react(const FitData& data, const ReactOptions& options) {
  auto state = head_state("react", data.head);
  state["threshold"] = scalar_of(
      percentile(checked_features("react", "validation", data.validation), options.percentile));
  return state;
}

State fit_ash(const FitData& data, const AshOptions& options) {
  check_range("ash", "percentile", options.percentile, 0, 100);
  auto state = head_state("ash", data.head);
  state["percentile"] = scalar_of(options.percentile);
  return state;
}

State fit_scale(const FitData& data, const ScaleOptions& options) {
  check_range("scale", "percentile", options.percentile, 0, 100);
  auto state = head_state("scale", data.head);
  state["percentile"] = scalar_of(options.percentile);
  return state;
}

State fit_vra(const FitData& data, const VraOptions& options) {
  DISSENT_CHECK(options.percentile_low <= options.percentile_high, kUsage,
                "vra: percentile_low: expected at most percentile_high ({}), found {}",
                options.percentile_high, options.percentile_low);
  auto state = head_state("vra", data.head);

  // Both thresholds are values of activations, as the features are clipped element by element.
  const auto features = checked_features("vra", "validation", data.validation);
  state["threshold_low"] = scalar_of(percentile(features, options.percentile_low));
  state["threshold_high"] = scalar_of(percentile(features, options.percentile_high));
  return state;
}

State fit_dice(const FitData& data, const DiceOptions& options) {
  auto state = head_state("dice", data.head);
  const auto features = checked_features("dice", "training", data.train);
  const auto weight = checked_head("dice", data.head, features.size(1)).weight;

  // Mean contribution of feature j to the logit of class c: W_cj mean(h_j). One threshold for all
  // classes.
  const auto contribution = weight * row_mean(features);
  const double threshold = percentile(contribution, options.p);

  state["weight"] = weight.masked_fill(contribution.le(threshold), 0);
  state["mask"] = state["weight"].ne(0).to(at::kLong);
  state["threshold"] = scalar_of(threshold);
  return state;
}

at::Tensor score_react(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("react", state, features, change_react);
}
at::Tensor score_ash_p(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("ash_p", state, features, change_ash_p);
}
at::Tensor score_ash_b(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("ash_b", state, features, change_ash_b);
}
at::Tensor score_ash_s(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("ash_s", state, features, change_ash_s);
}
at::Tensor score_scale(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("scale", state, features, change_scale);
}
at::Tensor score_vra(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("vra", state, features, change_vra);
}
at::Tensor score_dice(const State& state, const at::Tensor& features, const at::Tensor&) {
  return changed_energy("dice", state, features, change_nothing);
}

at::Tensor logits_react(const State& state, const at::Tensor& features) {
  return changed_logits("react", state, features, change_react);
}
at::Tensor logits_ash_p(const State& state, const at::Tensor& features) {
  return changed_logits("ash_p", state, features, change_ash_p);
}
at::Tensor logits_ash_b(const State& state, const at::Tensor& features) {
  return changed_logits("ash_b", state, features, change_ash_b);
}
at::Tensor logits_ash_s(const State& state, const at::Tensor& features) {
  return changed_logits("ash_s", state, features, change_ash_s);
}
at::Tensor logits_scale(const State& state, const at::Tensor& features) {
  return changed_logits("scale", state, features, change_scale);
}
at::Tensor logits_vra(const State& state, const at::Tensor& features) {
  return changed_logits("vra", state, features, change_vra);
}
at::Tensor logits_dice(const State& state, const at::Tensor& features) {
  return changed_logits("dice", state, features, change_nothing);
}

}  // namespace dissent::scores
