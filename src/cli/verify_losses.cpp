// Cases of sed_losses.h5.
#include <dissent/losses/a2d.hpp>
#include <dissent/losses/divdis.hpp>
#include <dissent/losses/hard_sample_weight.hpp>

#include "cli/verify_case.hpp"
#include "ensemble/objective.hpp"

namespace dissent::cli {
namespace {

losses::DivDisMode divdis_mode(const Case& reference) {
  return reference.param<std::string>("mode") == "mi" ? losses::DivDisMode::kMutualInformation : losses::DivDisMode::kL1;
}

losses::DivDisReduction divdis_reduction(const Case& reference) {
  return reference.param<std::string>("reduction") == "mean" ? losses::DivDisReduction::kMean : losses::DivDisReduction::kMinEach;
}

void check_a2d(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");
  const auto per_sample = losses::a2d(logits, reference.param<int64_t>("m"));
  if (reference.param<std::string>("reduction") == "mean") return checker.value(per_sample.mean(), {{"logits", logits}});
  const auto cotangent = reference.differentiable("cotangent");
  checker.output("per_sample", per_sample);
  checker.value((per_sample * cotangent).sum(), {{"logits", logits}, {"cotangent", cotangent}});
}

void check_divdis(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");
  checker.value(losses::divdis(logits, divdis_mode(reference), divdis_reduction(reference)), {{"logits", logits}});
}

void check_hard_sample_weight(const Case& reference, Checker& checker) {
  checker.output("weight", losses::hard_sample_weight(reference.input("logits"), reference.input("labels")));
}

// The reference's options in ours; see ensemble/objective.hpp.
ObjectiveOptions released_options(const Case& reference) {
  const double lambda = reference.param<double>("lambda");
  const bool a2d = reference.param<std::string>("loss_type") == "a2d", labelled = reference.param<bool>("use_always_labeled");
  ObjectiveOptions options;
  options.cross_entropy_weight = 1 - lambda;
  options.label_smoothing = reference.has("smoothing_eps") ? reference.param<double>("smoothing_eps") : 0;
  options.repulsion_weight = reference.param<double>("manual_lambda") * lambda;
  options.repulsion_on = labelled ? ObjectiveOptions::RepulsionOn::kLabelled : ObjectiveOptions::RepulsionOn::kUnlabelled;
  options.from_epoch = reference.param<int64_t>("disagree_after_epoch");
  options.divdis_mode = divdis_mode(reference);
  options.divdis_reduction = divdis_reduction(reference);
  if (lambda > 0) {
    options.repulsion = a2d ? ObjectiveOptions::Repulsion::kA2d : ObjectiveOptions::Repulsion::kDivDis;
    if (reference.has("disagree_below_threshold")) options.below_threshold = reference.param<double>("disagree_below_threshold");
    if (reference.has("reg_mode")) options.regulariser_weight = reference.param<double>("reg_weight") * lambda;
  }
  // With neither labels nor an unlabelled batch to repel on, the reference never reads its modifier.
  if (reference.has("modifier") && labelled) options.sample_weight = ObjectiveOptions::SampleWeight::kHard;
  return options;
}

void check_total(const Case& reference, Checker& checker) {
  std::vector<std::pair<std::string, at::Tensor>> leaves = {{"logits", reference.differentiable("logits")}};
  std::optional<at::Tensor> unlabelled;
  if (reference.has_input("unlabeled_logits")) {
    unlabelled = reference.differentiable("unlabeled_logits");
    leaves.emplace_back("unlabeled_logits", *unlabelled);
  }
  const auto value = objective(leaves[0].second, reference.input("labels"), unlabelled, reference.param<int64_t>("m"),
                               reference.param<int64_t>("epoch"), released_options(reference));
  checker.output("task_loss", value.cross_entropy);
  checker.output("repulsion_loss", value.repulsion);
  checker.output("regularizer_loss", value.regulariser);
  checker.output("total", value.total);
  checker.value(value.total, leaves);
}

}  // namespace

const std::vector<CaseHandler>& loss_handlers() {
  static const std::vector<CaseHandler> table = {
      {"loss", "a2d", check_a2d},
      {"loss", "divdis", check_divdis},
      {"loss", "sed_total", check_total},
      {"weight", "budget_modifier", check_hard_sample_weight},
  };
  return table;
}

}  // namespace dissent::cli
