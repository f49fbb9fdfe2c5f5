// Cases of sdde_scores.h5.
#include <algorithm>
#include <string>
#include <vector>

#include <dissent/scores/aggregation.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/shaping.hpp>
#include <dissent/scores/temperature.hpp>

#include "verify/case.hpp"

namespace dissent::verify {
namespace {

// The reference writes names with hyphens.
scores::Aggregation aggregation_of(const Case& reference) {
  auto name = reference.param<std::string>("aggregation");
  std::replace(name.begin(), name.end(), '-', '_');
  return scores::aggregation(name);
}

void check_aggregation(const Case& reference, Checker& checker) {
  const auto& members = reference.input("logits");
  const bool of_probabilities =
      reference.has("aggregate_logits") && !reference.param<bool>("aggregate_logits");
  const auto ensemble =
      of_probabilities ? scores::log_mean_probabilities(members) : scores::mean_logits(members);

  // The temperature divides logits, of members and of the ensemble, before the score; it does not
  // change the predicted class.
  const double t = reference.has("temperature") ? reference.param<double>("temperature") : 1.0;
  checker.output("score", scores::aggregate(aggregation_of(reference), members / t, ensemble / t));
  checker.output("pred", ensemble.argmax(-1));
}

void check_members(const Case& reference, Checker& checker, const at::Tensor& features) {
  const auto logits = scores::head_logits(features, reference.input("W"), reference.input("b"));
  checker.output("logits", logits);
  checker.output("mean_logits", scores::mean_logits(logits));
  checker.output("pred", scores::mean_logits(logits).argmax(-1));
  checker.output("score", scores::aggregate(aggregation_of(reference), logits));
}

void check_react(const Case& reference, Checker& checker) {
  check_members(reference, checker,
                scores::react(reference.input("features"), reference.input("threshold")));
}

at::Tensor ash(const std::string& variant, const at::Tensor& features, double percentile) {
  return variant == "p"   ? scores::ash_p(features, percentile)
         : variant == "b" ? scores::ash_b(features, percentile)
                          : scores::ash_s(features, percentile);
}

void check_ash(const Case& reference, Checker& checker) {
  check_members(reference, checker,
                ash(reference.param<std::string>("variant"), reference.input("features"),
                    reference.param<double>("percentile")));
}

// "ash_b": the features only.
void check_ash_features(const Case& reference, Checker& checker) {
  checker.output("features", ash(reference.name.substr(4), reference.input("features"),
                                 reference.param<double>("percentile")));
}

void check_react_threshold(const Case& reference, Checker& checker) {
  checker.output("threshold", scores::react_threshold(reference.input("features"),
                                                      reference.param<double>("percentile"),
                                                      reference.param<bool>("per_model")));
}

void check_temperature(const Case& reference, Checker& checker) {
  const auto& given = reference.input("logits");
  const auto logits = given.dim() == 3 ? scores::mean_logits(given) : given;
  const auto fit = scores::fit_temperature_sdde(
      logits, reference.input("labels"), reference.param<double>("tol"),
      {reference.param<double>("min_t"), reference.param<double>("max_t")});
  checker.output("temperature", fit.temperature);
  checker.output("nll", fit.nll);
}

}  // namespace

const std::vector<CaseHandler>& sdde_score_handlers() {
  static const std::vector<CaseHandler> table = [] {
    std::vector<CaseHandler> all = {
        {"postprocessor", "react", check_react, "features"},
        {"postprocessor", "react_threshold", check_react_threshold},
        {"postprocessor", "ash", check_ash},
        {"postprocessor", "ash_p", check_ash_features, "features"},
        {"postprocessor", "ash_b", check_ash_features, "features"},
        {"postprocessor", "ash_s", check_ash_features, "features"},
        {"postprocessor", "temperature", check_temperature},
    };
    for (const auto& name : scores::aggregation_names())
      all.push_back({"score", name, check_aggregation, "aggregation"});
    return all;
  }();
  return table;
}

}  // namespace dissent::verify
