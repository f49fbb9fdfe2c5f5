#include <cstdint>
#include <vector>

#include <dissent/scores/logit_scores.hpp>

#include "scores/postprocessor_rows.hpp"

namespace dissent::scores {
namespace {

State nothing(const FitData&, const NoOptions&) { return {}; }

}  // namespace

std::vector<PostprocessorInfo> logit_rows() {
  using F = FitField;

  return {
      // Confidences of the logits
      postprocessor_row<NoOptions>(
          {.name = "msp",
           .summary = "Largest probability",
           .formula = "max_c softmax(z)_c",
           .citation = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and "
                       "Out-of-Distribution Examples, ICLR 2017",
           .answers = {},
           .scores_logits = true},
          OptionTable<NoOptions>("postprocessor.msp", "MSP"), nothing, score_msp),

      postprocessor_row<NoOptions>({.name = "maxlogit",
                                    .summary = "Largest logit",
                                    .formula = "max_c z_c",
                                    .citation = "Hendrycks et al., Scaling Out-of-Distribution "
                                                "Detection for Real-World Settings, ICML 2022",
                                    .answers = {},
                                    .scores_logits = true},
                                   OptionTable<NoOptions>("postprocessor.maxlogit", "MaxLogit"),
                                   nothing, score_maxlogit),

      postprocessor_row<EnergyOptions>(
          {.name = "energy",
           .summary = "Energy of the logits",
           .formula = "T log sum_c exp(z_c / T)",
           .citation = "Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020",
           .answers = {},
           .scores_logits = true,
           .search = {{"temperature", {1.0, 10.0, 100.0, 1000.0}}}},
          OptionTable<EnergyOptions>("postprocessor.energy", "Energy")
              .option("temperature", &EnergyOptions::temperature,
                      {.meaning = "T, above 0", .min = 1e-12}),
          fit_energy, score_energy),

      postprocessor_row<GenOptions>(
          {.name = "gen",
           .summary = "Generalised entropy of the largest probabilities",
           .formula = "-sum over the m largest p of p^gamma (1 - p)^gamma",
           .citation = "Liu, Lochman and Zach, GEN: Pushing the Limits of Softmax-Based "
                       "Out-of-Distribution Detection, CVPR 2023",
           .answers = {},
           .scores_logits = true,
           .search = {{"gamma", {0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0}},
                      {"m",
                       {int64_t{10}, int64_t{50}, int64_t{100}, int64_t{200}, int64_t{500},
                        int64_t{1000}}}}},
          OptionTable<GenOptions>("postprocessor.gen", "GEN")
              .option("gamma", &GenOptions::gamma, {.meaning = "exponent, above 0", .min = 1e-12})
              .option("m", &GenOptions::m,
                      {.meaning = "number of largest probabilities to use; 0, or more than the "
                                  "number of classes: all",
                       .min = 0}),
          fit_gen, score_gen),

      // Fitted on the validation set
      postprocessor_row<TempScalingOptions>(
          {.name = "temp_scaling",
           .summary = "Largest probability at the temperature that fits the validation set best",
           .formula = "max_c softmax(z / T)_c,  T at the least validation cross-entropy",
           .citation = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017",
           .answers = "all predictions correct, or no better than chance: T is a bound; equal "
                      "logits: T is 1; "
                      "the state's `end` says which",
           .needs = {F::kValidationLogits, F::kValidationLabels},
           .scores_logits = true},
          OptionTable<TempScalingOptions>("postprocessor.temp_scaling", "Temperature scaling")
              .choice("convention", &TempScalingOptions::convention,
                      {{"optimum", TemperatureConvention::kOptimum},
                       {"sdde", TemperatureConvention::kSdde},
                       {"openood", TemperatureConvention::kOpenood}},
                      "optimum: the minimum inside the bounds; sdde: golden section, to 1e-3 of "
                      "log T; openood: the result of one LBFGS call from 1.5, which may be far "
                      "from the minimum and even below 0")
              .option("lowest", &TempScalingOptions::lowest,
                      {.meaning = "smallest T, above 0; start of sdde's bracket", .min = 1e-12})
              .option("highest", &TempScalingOptions::highest,
                      {.meaning = "largest T; limit of sdde's bracket", .min = 1e-12}),
          fit_temp_scaling, score_temp_scaling),

      postprocessor_row<NoOptions>(
          {.name = "klm",
           .summary = "Divergence to the nearest class template",
           .formula = "-min_c KL(softmax(z) || t_c),  t_c the mean prediction of validation "
                      "samples predicted as c",
           .citation = "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World "
                       "Settings, ICML 2022",
           .answers = "no validation sample predicted as c: t_c is one-hot; p has mass where every "
                      "template is 0: -infinity",
           .needs = {F::kValidationLogits},
           .scores_logits = true},
          OptionTable<NoOptions>("postprocessor.klm", "KL matching"),
          [](const FitData& data, const NoOptions&) { return fit_klm(data); }, score_klm),

      // Fitted on the training set
      postprocessor_row<OpenmaxOptions>(
          {.name = "openmax",
           .summary = "Probability of an unknown class, from Weibull tails of the distances to "
                      "class means in logit space",
           .formula = "-softmax(z', sum_c (z_c - z'_c))_unknown,  z'_c = z_c (1 - w_c omega_c)",
           .citation = "Bendale and Boult, Towards Open Set Deep Networks, CVPR 2016; tails as "
                       "libMR fits them",
           .answers =
               "class with fewer than 2 different distances (none classified correctly, ..): "
               "its logit is not revised",
           .needs = {F::kTrainLogits, F::kTrainLabels},
           .scores_logits = true},
          OptionTable<OpenmaxOptions>("postprocessor.openmax", "OpenMax")
              .option("alpha", &OpenmaxOptions::alpha,
                      {.meaning = "number of largest logits that are revised", .min = 1})
              .option("tail", &OpenmaxOptions::tail,
                      {.meaning =
                           "number of largest distances per class to which the Weibull is fitted",
                       .min = 2}),
          fit_openmax, score_openmax),
  };
}

}  // namespace dissent::scores
