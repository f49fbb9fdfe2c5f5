#include <string>
#include <vector>

#include <dissent/scores/shaped_energy.hpp>

#include "scores/postprocessor_rows.hpp"

namespace dissent::scores {
namespace {

using F = FitField;

OptionTable<AshOptions> ash_options(const std::string& name) {
  return OptionTable<AshOptions>("postprocessor." + name, "ASH")
      .option("percentile", &AshOptions::percentile,
              {.meaning = "share of the activations of a sample that is pruned, %",
               .min = 0,
               .max = 100});
}

PostprocessorInfo ash_row(const std::string& name, const std::string& remaining,
                          const std::string& answers, Score score) {
  return postprocessor_row<AshOptions>(
      {.name = name,
       .summary =
           "Energy after pruning all but the largest activations of a sample; the remaining ones " +
           remaining,
       .formula =
           "log sum_c exp(W h' + b)_c,  h' of the k = D - round(D q / 100) largest activations",
       .citation = "Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution "
                   "Detection, ICLR 2023",
       .answers = answers,
       .needs = {F::kHead},
       .scores_features = true,
       .search = {{"percentile", {65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0}}}},
      ash_options(name), fit_ash, score);
}

}  // namespace

std::vector<PostprocessorInfo> shaping_rows() {
  return {
      // Clipped, pruned and scaled features
      postprocessor_row<ReactOptions>(
          {.name = "react",
           .summary = "Energy of clipped features",
           .formula =
               "log sum_c exp(W min(h, t) + b)_c,  t a percentile of all validation activations",
           .citation = "Sun, Guo and Li, ReAct: Out-of-distribution Detection With Rectified "
                       "Activations, NeurIPS 2021",
           .answers = {},
           .needs = {F::kValidationFeatures, F::kHead},
           .scores_features = true,
           .search = {{"percentile", {85.0, 90.0, 95.0, 99.0}}}},
          OptionTable<ReactOptions>("postprocessor.react", "ReAct")
              .option(
                  "percentile", &ReactOptions::percentile,
                  {.meaning = "percentile of all validation activations, %", .min = 0, .max = 100}),
          fit_react, score_react),

      ash_row("ash_p", "are not changed", {}, score_ash_p),
      ash_row("ash_b", "share the sum of all equally", {}, score_ash_b),
      ash_row("ash_s", "are scaled by exp(sum of all / their sum)",
              "their sum is 0 (zero feature, 100 %): not scaled; the exponent is at most 600",
              score_ash_s),

      postprocessor_row<ScaleOptions>(
          {.name = "scale",
           .summary = "Energy of features scaled by the share of the largest ones in their sum",
           .formula = "log sum_c exp(W h exp(sum h / sum of the k largest) + b)_c,  k = D - "
                      "round(D q / 100)",
           .citation = "Xu et al., Scaling for Training Time and Post-hoc Out-of-distribution "
                       "Detection Enhancement, ICLR 2024",
           .answers = "sum of the k largest 0 (zero feature, 100 %): not scaled; the exponent is "
                      "at most 600",
           .needs = {F::kHead},
           .scores_features = true,
           .search = {{"percentile", {65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0}}}},
          OptionTable<ScaleOptions>("postprocessor.scale", "SCALE")
              .option("percentile", &ScaleOptions::percentile,
                      {.meaning = "q, share of the activations that are not among the k largest, %",
                       .min = 0,
                       .max = 100}),
          fit_scale, score_scale),

      postprocessor_row<VraOptions>(
          {.name = "vra",
           .summary =
               "Energy of features clipped at both ends; small values are raised, as in OpenOOD",
           .formula = "log sum_c exp(W clip(h, low, high) + b)_c,  percentiles of all validation "
                      "activations",
           .citation = "Xu et al., VRA: Variational Rectified Activation for Out-of-distribution "
                       "Detection, NeurIPS 2023",
           .answers = {},
           .needs = {F::kValidationFeatures, F::kHead},
           .scores_features = true,
           .search = {{"percentile_high", {85.0, 90.0, 95.0, 99.0}},
                      {"percentile_low", {1.0, 5.0, 10.0, 15.0}}}},
          OptionTable<VraOptions>("postprocessor.vra", "VRA")
              .option(
                  "percentile_high", &VraOptions::percentile_high,
                  {.meaning = "percentile of all validation activations, %", .min = 0, .max = 100})
              .option(
                  "percentile_low", &VraOptions::percentile_low,
                  {.meaning = "percentile of all validation activations, %", .min = 0, .max = 100}),
          fit_vra, score_vra),

      // Pruned weights
      postprocessor_row<DiceOptions>(
          {.name = "dice",
           .summary = "Energy with only the weights of largest mean contribution",
           .formula = "log sum_c exp(W' h + b)_c,  W'_cj = W_cj where W_cj mean(h_j) is above the "
                      "percentile, else 0",
           .citation = "Sun and Li, DICE: Leveraging Sparsification for Out-of-Distribution "
                       "Detection, ECCV 2022",
           .answers = {},
           .needs = {F::kTrainFeatures, F::kHead},
           .scores_features = true,
           .search = {{"p", {90.0}}}},
          OptionTable<DiceOptions>("postprocessor.dice", "DICE")
              .option("p", &DiceOptions::p,
                      {.meaning = "percentile of the contributions, %", .min = 0, .max = 100}),
          fit_dice, score_dice),
  };
}

}  // namespace dissent::scores
