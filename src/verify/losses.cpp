// Cases of sed_losses.h5.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/losses/divdis.hpp>
#include <dissent/losses/hard_sample_weight.hpp>

#include "ensemble/objective.hpp"
#include "verify/case.hpp"

namespace dissent::verify {
namespace {

losses::DivDisMode divdis_mode(const Case& reference) {
  return reference.param<std::string>("mode") == "mi" ? losses::DivDisMode::kMutualInformation
                                                      : losses::DivDisMode::kL1;
}

losses::DivDisReduction divdis_reduction(const Case& reference) {
  return reference.param<std::string>("reduction") == "mean" ? losses::DivDisReduction::kMean
                                                             : losses::DivDisReduction::kMinEach;
}

void check_a2d(const Case& reference, Checker& checker) {
  // m is the member that the reference drew.
  const auto logits = reference.differentiable("logits");
  const auto per_sample = losses::a2d(logits, reference.param<int64_t>("m"));
  if (reference.param<std::string>("reduction") == "mean")
    return checker.value(per_sample.mean(), {{"logits", logits}});

  // Without a reduction, the gradient is that of sum_n c_n a_n for a given vector c, which checks
  // each sample.
  const auto cotangent = reference.differentiable("cotangent");
  checker.output("per_sample", per_sample);
  checker.value((per_sample * cotangent).sum(), {{"logits", logits}, {"cotangent", cotangent}});
}

void check_divdis(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");
  checker.value(losses::divdis(logits, divdis_mode(reference), divdis_reduction(reference)),
                {{"logits", logits}});
}

void check_hard_sample_weight(const Case& reference, Checker& checker) {
  checker.output("weight",
                 losses::hard_sample_weight(reference.input("logits"), reference.input("labels")));
}

// The objective of a case, from the options of SED's release; see ensemble/objective.hpp.
ObjectiveOptions released_options(const Case& reference) {
  const double lambda = reference.param<double>("lambda");
  const bool a2d = reference.param<std::string>("loss_type") == "a2d",
             labelled = reference.param<bool>("use_always_labeled");
  const auto from_epoch = reference.param<int64_t>("disagree_after_epoch");

  // The task loss, which applies to every member.
  ObjectiveOptions options;
  const double smoothing =
      reference.has("smoothing_eps") ? reference.param<double>("smoothing_eps") : 0;
  options.terms.push_back({"cross_entropy",
                           {.weight = 1 - lambda},
                           losses::CrossEntropyOptions{.label_smoothing = smoothing}});

  // The diversity loss, on the labelled batch or on an unlabelled one; lambda = 0 turns it off.
  options.repulsion_on = labelled ? ObjectiveOptions::RepulsionOn::kLabelled
                                  : ObjectiveOptions::RepulsionOn::kUnlabelled;
  if (lambda == 0) return options;
  const losses::LossWeight weight{.weight = reference.param<double>("manual_lambda") * lambda,
                                  .from_epoch = from_epoch};
  if (a2d) {
    // Without labels the release ignores its modifier (the weight of hard samples).
    const bool hard = reference.has("modifier") && labelled;
    options.terms.push_back(
        {"a2d", weight,
         losses::A2dOptions{.sample_weight =
                                hard ? losses::SampleWeight::kHard : losses::SampleWeight::kNone}});
  } else {
    options.terms.push_back({"divdis", weight,
                             losses::DivDisOptions{.mode = divdis_mode(reference),
                                                   .reduction = divdis_reduction(reference)}});
  }

  // Where the diversity loss applies, and the KL regulariser added to it.
  if (reference.has("disagree_below_threshold"))
    options.below_threshold = reference.param<double>("disagree_below_threshold");
  if (reference.has("reg_mode"))
    options.terms.push_back(
        {"kl_backward",
         {.weight = reference.param<double>("reg_weight") * lambda, .from_epoch = from_epoch},
         {}});
  return options;
}

void check_sed_total(const Case& reference, Checker& checker) {
  std::vector<std::pair<std::string, at::Tensor>> leaves = {
      {"logits", reference.differentiable("logits")}};
  std::optional<at::Tensor> unlabelled;
  if (reference.has_input("unlabeled_logits")) {
    unlabelled = reference.differentiable("unlabeled_logits");
    leaves.emplace_back("unlabeled_logits", *unlabelled);
  }

  // SED has no losses with a period, so every step of an epoch gives the same value: step 0.
  const auto options = released_options(reference);
  const auto value =
      objective(leaves[0].second, reference.input("labels"), unlabelled,
                reference.param<int64_t>("m"), reference.param<int64_t>("epoch"), 0, options);

  // A term that is off in this case counts as 0 in the reference.
  const auto term = [&](size_t i) {
    return i < value.terms.size() ? value.terms[i] : at::zeros_like(value.total);
  };
  checker.output("task_loss", term(0));
  checker.output("repulsion_loss", term(1));
  checker.output("regularizer_loss", term(2));
  checker.output("total", value.total);
  checker.value(value.total, leaves);
}

}  // namespace

const std::vector<CaseHandler>& loss_handlers() {
  static const std::vector<CaseHandler> table = {
      {"loss", "a2d", check_a2d},
      {"loss", "divdis", check_divdis},
      {"loss", "sed_total", check_sed_total},
      {"weight", "budget_modifier", check_hard_sample_weight},
  };
  return table;
}

}  // namespace dissent::verify
