// Cases of sed_scores.h5: scores, batch diversity, outputs of the ensemble, class subsets, complete
// detection evaluations.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dissent/metrics/accuracy.hpp>
#include <dissent/metrics/ranking.hpp>
#include <dissent/scores/batch_diversity.hpp>
#include <dissent/scores/class_subset.hpp>
#include <dissent/scores/ensemble_output.hpp>
#include <dissent/scores/ensemble_scores.hpp>
#include <dissent/scores/registry.hpp>

#include "verify/case.hpp"

namespace dissent::verify {
namespace {

using scores::InputKind;

// The reference treats a stack whose values all lie in [0, 1] as probabilities; our functions take
// the kind as an argument.
InputKind guessed_kind(const Case& reference) {
  const auto& outputs = reference.host_input("logits");
  return outputs.ge(0).logical_and(outputs.le(1)).all().item<bool>() ? InputKind::kProbabilities
                                                                     : InputKind::kLogits;
}

at::Tensor released_score(const scores::ScoreInfo& score, const at::Tensor& outputs,
                          InputKind kind) {
  return (score.released_function ? score.released_function : score.function)(outputs, kind);
}

void check_per_sample(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  const auto* score = scores::find_released_score(reference.name);
  DISSENT_CHECK(score, kCheck, "case: expected the released name of a score, found '{}'",
                reference.name);
  checker.output("score", released_score(*score, logits, guessed_kind(reference)));
}

void check_member_entropies(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  checker.output("score", scores::member_entropies(logits, guessed_kind(reference)));
}

// "ens_entropy": the mean over the batch of "ens_entropy_per_sample".
void check_batch_mean(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  const auto* score = scores::find_released_score(reference.name + "_per_sample");
  DISSENT_CHECK(score, kCheck, "case: expected the released name of a score, found '{}_per_sample'",
                reference.name);
  checker.output("value", released_score(*score, logits, guessed_kind(reference)).mean());
}

void check_conf(const Case& reference, Checker& checker) {
  checker.output("value", scores::mean_probabilities(reference.input("logits")).amax(-1).mean());
}

template <at::Tensor (*kDiversity)(const at::Tensor&)>
void check_diversity(const Case& reference, Checker& checker) {
  checker.output("value", kDiversity(reference.input("logits")));
}

void check_ensemble_conf(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  checker.output("score", scores::msp(logits, InputKind::kLogits));
  checker.output("pred", scores::mean_logits(logits).argmax(-1));
}

void check_mean_member_confidence(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  checker.output("score", scores::mean_member_confidence(logits, InputKind::kLogits));
  checker.output("submodel_conf", scores::probabilities(logits, InputKind::kLogits).amax(-1));
  checker.output("submodel_pred", logits.argmax(-1));
}

void check_ensemble_output(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  if (reference.has_input("weights")) {
    checker.output("normalized_weights", scores::normalized_weights(reference.input("weights")));
    checker.output("output", scores::weighted_logits(logits, reference.input("weights")));
  } else {
    checker.output("output", reference.has("average_after_softmax")
                                 ? scores::mean_probabilities(logits)
                                 : scores::mean_logits(logits));
  }
}

void check_product_of_experts(const Case& reference, Checker& checker) {
  checker.output("output", scores::product_of_experts(reference.input("logits")));
}

// Accuracies of mapped outputs [M, N, K] and of the mean logit mapped the same way, soup [N, K].
void check_subset_accuracies(const Case& reference, Checker& checker, const at::Tensor& mapped,
                             const at::Tensor& soup) {
  const auto& labels = reference.input("labels");
  const auto ensemble = mapped.mean(0);
  checker.output("mapped", mapped);
  checker.output("ensemble_pred", scores::subset_predictions(ensemble));
  checker.output("ensemble_conf", scores::subset_confidence(ensemble));
  checker.output("ensemble", accuracy(scores::subset_predictions(ensemble), labels));
  checker.output("soup_pred", scores::subset_predictions(soup));
  checker.output("soup_conf", scores::subset_confidence(soup));
  checker.output("soup", accuracy(scores::subset_predictions(soup), labels));

  // A row of a member that abstains is predicted as -1, which counts as wrong.
  double best = 0, sum = 0;
  for (int64_t m = 0; m < mapped.size(0); ++m) {
    const double of_member = accuracy(scores::subset_predictions(mapped[m]), labels);
    checker.output(fmt::format("submodel_{}", m), of_member);
    best = std::max(best, of_member);
    sum += of_member;
  }
  checker.output("best_single_model", best);
  checker.output("mean_single_model", sum / static_cast<double>(mapped.size(0)));
}

// The mean of batch values as SED's release takes it: a shorter last batch has the same weight.
double mean_over_batches(const at::Tensor& mapped, int64_t batch,
                         const std::function<at::Tensor(const at::Tensor&)>& value) {
  double sum = 0;
  int64_t batches = 0;
  for (const auto& part : mapped.split(batch, 1)) {
    sum += value(part).mean().item<double>();
    ++batches;
  }
  return sum / static_cast<double>(batches);
}

}  // namespace

void check_evaluation(const Case& reference, Checker& checker, const at::Tensor& mapped,
                      const at::Tensor& soup, scores::InputKind kind) {
  check_subset_accuracies(reference, checker, mapped, soup);

  // SED's release reports the plain name for the mean over batches of its *_per_sample function.
  const auto batch = reference.param<int64_t>("batch_size");
  for (const auto& score : scores::score_table()) {
    const std::string suffix = "_per_sample";
    if (!score.released_name.ends_with(suffix)) continue;
    const auto name = score.released_name.substr(0, score.released_name.size() - suffix.size());
    checker.output(name, mean_over_batches(mapped, batch, [&](const at::Tensor& part) {
                     return released_score(score, part, kind);
                   }));
  }

  checker.output("var", mean_over_batches(mapped, batch, scores::variance));
}

namespace {

void check_imagenet_ar(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");
  const auto mask = reference.input("mask").ne(0);
  check_evaluation(reference, checker, scores::votes_in_subset(logits, mask),
                   scores::votes_in_subset(logits.mean(0), mask), InputKind::kProbabilities);
}

void check_categories(const Case& reference, Checker& checker) {
  const auto& logits = reference.input("logits");

  const auto categories = reference.has_input("category_mask")
                              ? reference.input("category_mask").ne(0)
                              : scores::category_mask(reference.input("class_to_category"),
                                                      reference.param<int64_t>("categories"));
  check_evaluation(reference, checker,
                   scores::category_means(logits, InputKind::kLogits, categories),
                   scores::category_means(logits.mean(0), InputKind::kLogits, categories),
                   InputKind::kProbabilities);
}

double auroc_of(const at::Tensor& id, const at::Tensor& ood, scores::Positive positive) {
  const bool of_id = positive == scores::Positive::kId;
  return metrics::auroc(metrics::Ranking::from_scores(of_id ? id : ood, of_id ? ood : id).finish());
}

void check_detection(const Case& reference, Checker& checker) {
  // Some released scores depend on the batch (mutual_information), so batches are cut as in the
  // release.
  const auto batch = reference.param<int64_t>("batch_size");
  for (const auto& score : scores::score_table()) {
    if (score.released_name.empty()) continue;
    const auto all = [&](const char* set) {
      std::vector<at::Tensor> parts;
      for (const auto& part : reference.input(set).split(batch, 1))
        parts.push_back(released_score(score, part, InputKind::kLogits));
      return at::cat(parts);
    };

    // The release evaluates every score s twice, as s and as 1 - s.
    const auto id = all("id_logits"), ood = all("ood_logits");
    const auto check = [&](const std::string& name, const at::Tensor& of_id,
                           const at::Tensor& of_ood) {
      checker.output("id_" + name, of_id);
      checker.output("ood_" + name, of_ood);
      checker.output("auroc_" + name, auroc_of(of_id, of_ood, score.released_positive));
    };
    check(score.released_name, id, ood);
    check("inv_" + score.released_name, 1 - id, 1 - ood);
  }
}

}  // namespace

const std::vector<CaseHandler>& score_handlers() {
  // Names as in SED's release; `score_table` maps them to ours.
  static const std::vector<CaseHandler> table = {
      {"score", "a2d_score_per_sample", check_per_sample},
      {"score", "average_energy_per_sample", check_per_sample},
      {"score", "average_entropy_per_sample", check_per_sample},
      {"score", "average_max_logit_per_sample", check_per_sample},
      {"score", "div_continous_unique_per_sample", check_per_sample},
      {"score", "div_different_preds_per_sample", check_per_sample},
      {"score", "ens_entropy_per_sample", check_per_sample},
      {"score", "mutual_information_per_sample", check_per_sample},
      {"score", "similarity_between_models_per_sample", check_per_sample},
      {"score", "unreduced_entropy_per_sample", check_member_entropies},
      {"score", "a2d_score", check_batch_mean},
      {"score", "average_energy", check_batch_mean},
      {"score", "average_entropy", check_batch_mean},
      {"score", "average_max_logit", check_batch_mean},
      {"score", "div_continous_unique", check_batch_mean},
      {"score", "div_different_preds", check_batch_mean},
      {"score", "ens_entropy", check_batch_mean},
      {"score", "mutual_information", check_batch_mean},
      {"score", "conf", check_conf},
      {"score", "var", check_diversity<scores::variance>},
      {"score", "std", check_diversity<scores::standard_deviation>},
      {"score", "max_var", check_diversity<scores::max_variance>},
      {"score", "dis", check_diversity<scores::divdis_information>},
      {"score", "kl", check_diversity<scores::kl_divergence>},
      {"score", "ensemble_conf", check_ensemble_conf},
      {"score", "mean_submodel_conf", check_mean_member_confidence},
      {"score", "ensemble_output", check_ensemble_output},
      {"score", "product_of_experts", check_product_of_experts},
      {"score", "imagenet_ar_wrapper", check_imagenet_ar},
      {"score", "in9_wrapper", check_categories},
      {"score", "mvh_wrapper", check_categories},
      {"score", "sed_ood_det", check_detection},
  };
  return table;
}

}  // namespace dissent::verify
