#include "evaluate/option_names.hpp"

namespace dissent {

template <>
const Names<Combine>& option_names() {
  static const Names<Combine> names{{"mean_logits", Combine::kMeanLogits},
                                    {"mean_probabilities", Combine::kMeanProbabilities},
                                    {"product_of_experts", Combine::kProductOfExperts}};
  return names;
}

template <>
const Names<TemperatureMethod>& option_names() {
  static const Names<TemperatureMethod> names{{"none", TemperatureMethod::kNone},
                                              {"optimum", TemperatureMethod::kOptimum},
                                              {"sdde", TemperatureMethod::kSdde},
                                              {"openood", TemperatureMethod::kOpenood}};
  return names;
}

template <>
const Names<ConformalMethod>& option_names() {
  static const Names<ConformalMethod> names{{"none", ConformalMethod::kNone},
                                            {"aps", ConformalMethod::kAps},
                                            {"raps", ConformalMethod::kRaps}};
  return names;
}

template <>
const Names<ScoreForm>& option_names() {
  static const Names<ScoreForm> names{{"output", ScoreForm::kOutput},
                                      {"mean_probabilities", ScoreForm::kMeanProbabilities},
                                      {"mean_score", ScoreForm::kMeanScore}};
  return names;
}

template <>
const Names<Shaping>& option_names() {
  static const Names<Shaping> names{{"react", Shaping::kReact},
                                    {"ash_p", Shaping::kAshP},
                                    {"ash_b", Shaping::kAshB},
                                    {"ash_s", Shaping::kAshS},
                                    {"scale", Shaping::kScale}};
  return names;
}

template <>
const Names<ReportedPredictor>& option_names() {
  static const Names<ReportedPredictor> names{{"ensemble", ReportedPredictor::kEnsemble},
                                              {"soup", ReportedPredictor::kSoup},
                                              {"best", ReportedPredictor::kBest},
                                              {"mean", ReportedPredictor::kMean},
                                              {"members", ReportedPredictor::kMembers},
                                              {"greedy", ReportedPredictor::kGreedy},
                                              {"greedy_soup", ReportedPredictor::kGreedySoup}};
  return names;
}

template <>
const Names<CacheDtype>& option_names() {
  static const Names<CacheDtype> names{
      {"none", CacheDtype::kNone}, {"f32", CacheDtype::kF32}, {"f16", CacheDtype::kF16}};
  return names;
}

template <>
const Names<SetRole>& option_names() {
  static const Names<SetRole> names{{"test", SetRole::kTest},
                                    {"id", SetRole::kId},
                                    {"validation", SetRole::kValidation},
                                    {"fit", SetRole::kFit},
                                    {"validation_ood", SetRole::kValidationOod},
                                    {"calibration", SetRole::kCalibration}};
  return names;
}

template <>
const Names<Shift>& option_names() {
  static const Names<Shift> names{{"id", Shift::kId},
                                  {"covariate", Shift::kCovariate},
                                  {"near", Shift::kNear},
                                  {"far", Shift::kFar},
                                  {"semantic", Shift::kSemantic}};
  return names;
}

template <>
const Names<LabelNumbers>& option_names() {
  static const Names<LabelNumbers> names{{"subset", LabelNumbers::kSubset},
                                         {"all", LabelNumbers::kAll}};
  return names;
}

}  // namespace dissent
