// Cases of postprocessors.h5.
#include <cstdint>
#include <map>

#include <dissent/scores/gaussian.hpp>
#include <dissent/scores/logit_scores.hpp>
#include <dissent/scores/shaped_energy.hpp>

#include "scores/postprocessors.hpp"
#include "verify/case.hpp"

namespace dissent::verify {
namespace {

using scores::State;

// The name of our option for a parameter of the reference; "" for a parameter without an option.
std::string option_name(const std::string& postprocessor, const std::string& parameter) {
  static const std::map<std::string, std::string> names = {{"knn/K", "k"},
                                                           {"nnguide/K", "k"},
                                                           {"gen/M", "m"},
                                                           {"relation/pow", "power"},
                                                           {"openmax/weibull_alpha", "alpha"},
                                                           {"openmax/weibull_tail", "tail"},
                                                           {"openmax/weibull_threshold", ""}};
  if (parameter == "data") return "";
  const auto found = names.find(postprocessor + "/" + parameter);
  return found == names.end() ? parameter : found->second;
}

Value value_of(const nlohmann::json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  return json.get<std::string>();
}

std::any options_of(const Case& reference, const scores::PostprocessorInfo& info) {
  // Defaults first: a case has only the parameters that its reference was given.
  std::any options = info.default_options;
  for (const auto& [parameter, json] : reference.params.items()) {
    const auto key = option_name(info.name, parameter);
    if (!key.empty()) scores::set_option(info, options, key, value_of(json));
  }
  return options;
}

scores::FitData data_of(const Case& reference) {
  const auto optional = [&](const char* name) {
    return reference.has_input(name) ? reference.input(name) : at::Tensor();
  };

  // Logits are left undefined: the post-processors compute them from features and head, as the
  // reference does.
  scores::FitData data;
  data.head = {reference.input("W"), reference.input("b")};
  data.train = {optional("h_train"), {}, optional("y_train")};
  data.validation = {optional("h_val"), {}, optional("y_val")};
  data.order = optional("perm");
  return data;
}

at::Tensor logits_of(const Case& reference) {
  return at::linear(reference.input("h_test"), reference.input("W"), reference.input("b"));
}

// Fits a post-processor with the options of the case and compares every state tensor that the case
// has, and the scores.
State fit_and_score(const Case& reference, Checker& checker,
                    const std::function<void(std::any&)>& adjust = {}) {
  const auto& info = scores::find_postprocessor(reference.name);
  auto options = options_of(reference, info);
  if (adjust) adjust(options);
  auto state = scores::fit(info, data_of(reference), options);

  if (reference.has_input("weibull"))
    state["weibull"] = reference.input("weibull");  // given: the reference could not run libMR
  for (const auto& [name, tensor] : state) checker.output(name, tensor);
  checker.output("score", info.score(state, reference.input("h_test"), logits_of(reference)));
  return state;
}

// Post-processors that predict the class of the logits.
void check_plain(const Case& reference, Checker& checker) {
  fit_and_score(reference, checker);
  checker.output("pred", logits_of(reference).argmax(1));
}

// Post-processors that predict the class of changed logits.
template <at::Tensor (*kLogits)(const State&, const at::Tensor&)>
void check_changed(const Case& reference, Checker& checker) {
  const auto state = fit_and_score(reference, checker);
  checker.output("pred", kLogits(state, reference.input("h_test")).argmax(1));
}

void check_temp_scaling(const Case& reference, Checker& checker) {
  // SDDE fits a temperature in another way; these cases come from OpenOOD.
  const auto& info = scores::find_postprocessor("temp_scaling");
  fit_and_score(reference, checker, [&](std::any& options) {
    scores::set_option(info, options, "convention", std::string("openood"));
  });
  checker.output("pred", logits_of(reference).argmax(1));
}

void check_gaussian(const Case& reference, Checker& checker) {
  const auto state = fit_and_score(reference, checker);
  checker.output("precision", scores::precision(state));
  checker.output("pred", logits_of(reference).argmax(1));
}

// The batch size of the reference's loader is in the note of the case, not in its parameters:
// "Loader batch size 64: ...".
void check_nnguide(const Case& reference, Checker& checker) {
  const std::string before = "Loader batch size ";
  const auto place = reference.note.find(before);
  DISSENT_CHECK(place != std::string::npos, kData,
                "{}: case {}: expected '{}' in its note, found none", reference.file, reference.key,
                before);

  const int64_t batch = std::stoll(reference.note.substr(place + before.size()));

  // The bank consists of whole batches of the loader, so its rows depend on the batch size.
  const auto& info = scores::find_postprocessor("nnguide");
  const auto state = fit_and_score(reference, checker, [&](std::any& options) {
    scores::set_option(info, options, "batch_rows", batch);
  });
  checker.output("bank_size", static_cast<double>(state.at("bank").size(0)));
  checker.output("pred", logits_of(reference).argmax(1));
}

// Predicts the class with the largest probability, the unknown class included; where no probability
// reaches the threshold, the last class.
void check_openmax(const Case& reference, Checker& checker) {
  const auto state = fit_and_score(reference, checker);
  const auto [largest, predicted] =
      scores::openmax_probabilities(state, logits_of(reference)).max(1);

  const auto last = reference.input("W").size(0) - 1;
  checker.output("pred", predicted.masked_fill(
                             largest.lt(reference.param<double>("weibull_threshold")), last));
}

}  // namespace

const std::vector<CaseHandler>& postprocessor_handlers() {
  // SDDE's cases have some of these names too; theirs have in/features instead of in/h_test.
  constexpr auto kKind = "postprocessor";
  static const std::vector<CaseHandler> table = {
      {kKind, "msp", check_plain},
      {kKind, "maxlogit", check_plain},
      {kKind, "energy", check_plain},
      {kKind, "gen", check_plain},
      {kKind, "temp_scaling", check_temp_scaling},
      {kKind, "klm", check_plain},
      {kKind, "openmax", check_openmax},
      {kKind, "react", check_changed<scores::logits_react>, "h_test"},
      {kKind, "ash_p", check_changed<scores::logits_ash_p>, "h_test"},
      {kKind, "ash_b", check_changed<scores::logits_ash_b>, "h_test"},
      {kKind, "ash_s", check_changed<scores::logits_ash_s>, "h_test"},
      {kKind, "scale", check_changed<scores::logits_scale>},
      {kKind, "vra", check_changed<scores::logits_vra>},
      {kKind, "dice", check_changed<scores::logits_dice>},
      {kKind, "gradnorm", check_plain},
      {kKind, "she", check_plain},
      {kKind, "fdbd", check_plain},
      {kKind, "nci", check_plain},
      {kKind, "mds", check_gaussian},
      {kKind, "rmds", check_gaussian},
      {kKind, "vim", check_plain},
      {kKind, "residual", check_plain},
      {kKind, "knn", check_plain},
      {kKind, "nnguide", check_nnguide},
      {kKind, "relation", check_plain},
      {kKind, "cfood", check_plain},
  };
  return table;
}

}  // namespace dissent::verify
