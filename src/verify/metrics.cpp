// Cases of metrics.h5, and the metric cases of sed_scores.h5.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dissent/metrics/accuracy.hpp>
#include <dissent/metrics/correct_classification.hpp>
#include <dissent/metrics/mean_std.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/metrics/reliability.hpp>

#include "verify/case.hpp"

namespace dissent::verify {
namespace {

// Accuracies of the ensemble, the best member, the mean over members, and each member, from logits
// [M, N, C].
void check_member_accuracies(const Case& reference, Checker& checker) {
  const auto &logits = reference.input("logits"), &labels = reference.input("labels");

  // SED's ensemble predicts the argmax of the mean logits.
  checker.output("ensemble", accuracy(logits.mean(0).argmax(-1), labels));

  double best = 0, sum = 0;
  for (int64_t m = 0; m < logits.size(0); ++m) {
    const double of_member = accuracy(logits[m].argmax(-1), labels);
    checker.output(fmt::format("submodel_{}", m), of_member);
    best = std::max(best, of_member);
    sum += of_member;
  }
  checker.output("best_single_model", best);
  checker.output("mean_single_model", sum / static_cast<double>(logits.size(0)));
}

void check_accuracy(const Case& reference, Checker& checker) {
  // Three kinds of cases: predictions with OOD samples among them (label -1), logits of members [M,
  // N, C], and logits of one network [N, C].
  if (reference.has_input("pred")) {  // of the ID samples
    const auto& labels = reference.input("label");
    const auto id = labels.ne(-1);
    checker.output("value",
                   accuracy(reference.input("pred").masked_select(id), labels.masked_select(id)));
  } else if (reference.input("logits").dim() == 3) {
    check_member_accuracies(reference, checker);
  } else {
    checker.output("value",
                   accuracy(reference.input("logits").argmax(-1), reference.input("labels")));
  }
}

void check_top_k(const Case& reference, Checker& checker) {
  metrics::Accuracy state;
  state.update(metrics::right_in_top_k(reference.input("logits"), reference.input("labels"),
                                       reference.param<int64_t>("top_k")));
  checker.output("value", state.finish());
}

void check_mean_std(const Case& reference, Checker& checker) {
  const auto& values = reference.input("values");
  const auto result =
      metrics::mean_std({values.data_ptr<double>(), values.data_ptr<double>() + values.numel()});
  checker.output("mean", result.mean);
  checker.output("std", result.std);
}

// conf is larger for ID samples: with OOD as the positive class the score is -conf.
metrics::RankingValues figures(const Case& reference, double recall = 0.95) {
  const auto &conf = reference.input("conf"), &label = reference.input("label");
  metrics::Ranking ranking;
  ranking.update(conf.neg(), label.eq(-1));
  return metrics::ranking_values(ranking, {{recall}, false});
}

std::string convention(const Case& reference) { return reference.param<std::string>("convention"); }
bool is_openood(const Case& reference) { return convention(reference) == "openood"; }

void check_auroc(const Case& reference, Checker& checker) {
  checker.output("value", figures(reference).auroc);
}

// aupr_in, aupr_out: the table of metrics knows which class is positive in each convention.
void check_aupr(const Case& reference, Checker& checker) {
  checker.output("value",
                 metrics::detection_value(figures(reference), reference.name,
                                          metrics::find_convention(convention(reference))));
}

metrics::RankingSide positive_side(const Case& reference, double recall) {
  // A ranking gives the values of both sides: with OOD and with ID as the positive class.
  const auto both = figures(reference, recall);
  return reference.param<std::string>("positive") == "id" ? both.negative : both.positive;
}

void check_average_precision(const Case& reference, Checker& checker) {
  checker.output("value", positive_side(reference, 0.95).average_precision);
}

void check_fpr(const Case& reference, Checker& checker) {
  const auto side = positive_side(reference, reference.param<double>("recall"));
  checker.output("value", convention(reference) == "sklearn" ? side.fpr[0] : side.fpr_dropped[0]);
}

void check_ccr(const Case& reference, Checker& checker) {
  metrics::CorrectClassification state;
  state.update(reference.input("conf"), reference.input("pred"), reference.input("label"));
  checker.output("value", state.finish(reference.param<double>("fpr")));
}

metrics::Reliability reliability(const Case& reference) {
  const auto& logits = reference.input("logits");

  // OpenOOD passes logits as confidences and bins them as they are. torchmetrics has a bin of its
  // own for a confidence of 1; the others drop it.
  const auto shown = is_openood(reference) ? logits : at::softmax(logits, -1);
  const auto top =
      convention(reference) == "torchmetrics" ? metrics::TopBin::kOwn : metrics::TopBin::kDropped;
  metrics::Reliability state(reference.param<int64_t>("bins"), top);
  state.update(shown.amax(-1), logits.argmax(-1).eq(reference.input("labels")));
  return state;
}

void check_ece(const Case& reference, Checker& checker) {
  checker.output("value", reliability(reference).expected_error());
}

void check_ece_max(const Case& reference, Checker& checker) {
  checker.output("value", reliability(reference).largest_error());
}

void check_brier(const Case& reference, Checker& checker) {
  metrics::ExactMean state;
  state.update(metrics::brier(reference.input("logits"), reference.input("labels")));
  checker.output("value", state.finish());
}

// With a batch size: the mean of batch means, as SDDE and OpenOOD report it.
void check_nll(const Case& reference, Checker& checker) {
  const auto values =
      metrics::negative_log_likelihood(reference.input("logits"), reference.input("labels"));
  metrics::ExactMean state;
  if (reference.has("batch_size")) {
    for (const auto& batch : values.split(reference.param<int64_t>("batch_size")))
      state.update(batch.mean().unsqueeze(0));
  } else {
    state.update(values);
  }
  checker.output("value", state.finish());
}

}  // namespace

const std::vector<CaseHandler>& metric_handlers() {
  static const std::vector<CaseHandler> table = {
      {"metric", "accuracy", check_accuracy},
      {"metric", "accuracy_top_k", check_top_k},
      {"metric", "mean_std", check_mean_std},
      {"metric", "auroc", check_auroc},
      {"metric", "aupr_in", check_aupr},
      {"metric", "aupr_out", check_aupr},
      {"metric", "average_precision_in", check_average_precision},
      {"metric", "average_precision_out", check_average_precision},
      {"metric", "fpr80", check_fpr},
      {"metric", "fpr95", check_fpr},
      {"metric", "ccr", check_ccr},
      {"metric", "ece", check_ece},
      {"metric", "ece_max", check_ece_max},
      {"metric", "brier", check_brier},
      {"metric", "nll", check_nll},
  };
  return table;
}

}  // namespace dissent::verify
