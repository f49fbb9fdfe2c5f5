#include <utility>

#include <fmt/ranges.h>

#include <dissent/error.hpp>
#include <dissent/scores/aggregation.hpp>
#include <dissent/scores/ensemble_scores.hpp>
#include <dissent/scores/registry.hpp>

namespace dissent::scores {
namespace {

constexpr auto kSed =
    "Rubinstein et al., Scalable Ensemble Diversification for OOD Generalization and Detection, "
    "arXiv 2409.16797, 2024";

constexpr auto kSdde =
    "Dereka et al., Diversifying Deep Ensembles: A Saliency Map Approach for Enhanced OOD "
    "Detection, Calibration, and Accuracy, arXiv 2305.11616, 2023";

at::Tensor sample_mutual_information(const at::Tensor& outputs, InputKind kind) {
  return mutual_information(outputs, kind);
}

at::Tensor batch_mutual_information(const at::Tensor& outputs, InputKind kind) {
  return mutual_information(outputs, kind, MutualInformation::kReleasedBatch);
}

std::vector<ScoreInfo> sed_scores() {
  return {
      // Disagreement of the members
      {.name = "pds",
       .released_name = "div_continous_unique_per_sample",
       .meaning = "sum over classes of the largest probability that any member gives",
       .citation = kSed,
       .function = pds,
       .fused = FusedScore::kPds,
       .constant_for_one_member = true,
       .diversity_mean = true},
      {.name = "different_predictions",
       .released_name = "div_different_preds_per_sample",
       .meaning = "number of different classes that the members predict",
       .citation = kSed,
       .function = different_predictions,
       .fused = FusedScore::kDifferentPredictions,
       .constant_for_one_member = true,
       .diversity_mean = true},

      // Entropies
      {.name = "ensemble_entropy",
       .released_name = "ens_entropy_per_sample",
       .meaning = "entropy of the mean prediction, nats",
       .citation = "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation "
                   "using Deep Ensembles, 2017",
       .function = ensemble_entropy,
       .fused = FusedScore::kEnsembleEntropy},
      {.name = "average_entropy",
       .released_name = "average_entropy_per_sample",
       .meaning = "mean entropy of the members, nats",
       .citation = kSed,
       .function = average_entropy,
       .fused = FusedScore::kAverageEntropy},
      {.name = "mutual_information",
       .released_name = "mutual_information_per_sample",
       .meaning = "entropy of the mean minus the mean entropy, nats",
       .released_positive = Positive::kId,
       .citation = "Depeweg et al., Decomposition of Uncertainty in Bayesian Deep Learning, 2018",
       .function = sample_mutual_information,
       .released_function = batch_mutual_information,
       .fused = FusedScore::kMutualInformation,
       .constant_for_one_member = true},

      // Sizes of the logits
      {.name = "average_energy",
       .released_name = "average_energy_per_sample",
       .meaning = "minus the mean log-sum-exp of the members' logits",
       .needs = Needs::kLogits,
       .citation = "Liu et al., Energy-based Out-of-distribution Detection, 2020",
       .function = [](const at::Tensor& outputs, InputKind) { return average_energy(outputs); },
       .fused = FusedScore::kAverageEnergy},
      {.name = "average_max_logit",
       .released_name = "average_max_logit_per_sample",
       .meaning = "minus the mean largest logit of the members",
       .needs = Needs::kLogits,
       .released_positive = Positive::kId,
       .citation =
           "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, 2022",
       .function = [](const at::Tensor& outputs, InputKind) { return average_max_logit(outputs); },
       .fused = FusedScore::kAverageMaxLogit},

      // Distances between members
      {.name = "a2d_score",
       .released_name = "a2d_score_per_sample",
       .meaning = "mean log disagreement over ordered pairs of members (minus the A2D loss)",
       .min_members = 2,
       .citation = "Pagliardini et al., Agree to Disagree, 2023",
       .function = a2d_score,
       .fused = FusedScore::kA2d},
      {.name = "similarity",
       .released_name = "similarity_between_models_per_sample",
       .meaning = "mean L2 distance between members' probabilities",
       .citation = kSed,
       .function = similarity,
       .fused = FusedScore::kSimilarity,
       .constant_for_one_member = true},

      // Confidences
      {.name = "msp",
       .released_name = "ensemble_conf",
       .meaning = "largest probability of the ensemble (mean of logits)",
       .positive = Positive::kId,
       .released_positive = Positive::kId,
       .citation = "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and "
                   "Out-of-Distribution Examples in Neural Networks, 2017",
       .function = msp,
       .fused = FusedScore::kMsp},
      {.name = "mean_member_confidence",
       .released_name = "mean_submodel_conf",
       .meaning = "mean over members of their largest probability",
       .positive = Positive::kId,
       .released_positive = Positive::kId,
       .citation = kSed,
       .function = mean_member_confidence,
       .fused = FusedScore::kMeanMemberConfidence},
  };
}

// An aggregation of SDDE under its own name.
ScoreInfo aggregation_score(Aggregation which, FusedScore fused, const char* meaning) {
  // SDDE's aggregations are confidences: larger in distribution, in both conventions.
  return {.name = aggregation_names()[static_cast<size_t>(which)],
          .meaning = meaning,
          .needs = Needs::kLogits,
          .min_members = min_members(which),
          .positive = Positive::kId,
          .released_positive = Positive::kId,
          .citation = kSdde,
          .function = [which](const at::Tensor& outputs,
                              InputKind) { return aggregate(which, outputs); },
          .fused = fused};
}

std::vector<ScoreInfo> sdde_scores() {
  using enum Aggregation;
  std::vector<ScoreInfo> scores{
      aggregation_score(kAverage, FusedScore::kAverage, "largest probability of the mean logits"),
      aggregation_score(kProbAverage, FusedScore::kProbAverage,
                        "largest mean probability of the members"),
      aggregation_score(kProbMinmax, FusedScore::kProbMinmax,
                        "smallest over members of their largest probability"),
      aggregation_score(kProbMaxstd, FusedScore::kProbMaxstd,
                        "minus the deviation over members of their largest probability"),
      aggregation_score(kLogitAverage, FusedScore::kLogitAverage, "largest mean logit"),
      aggregation_score(kMinmax, FusedScore::kMinmax,
                        "smallest over members of their largest logit"),
      aggregation_score(
          kStdmax, FusedScore::kStdmax,
          "minus the largest over classes of the deviation over members of the logit"),
      aggregation_score(kMaxstd, FusedScore::kMaxstd,
                        "minus the deviation over members of their largest logit"),
      aggregation_score(kAverageMinmax, FusedScore::kAverageMinmax,
                        "smallest logit over members of the class that the mean logits predict"),
      aggregation_score(kEnergy, FusedScore::kNone, "log-sum-exp of the mean logits"),
  };

  // The post-processor of this name has a temperature.
  scores.back().postprocessor_preferred = true;

  // SDDE's average-energy has the opposite sign of SED's score of that name.
  scores.push_back(aggregation_score(
      kAverageEnergy, FusedScore::kMemberEnergy,
      "mean over members of the log-sum-exp of their logits (SDDE's average-energy; minus "
      "average_energy)"));
  scores.back().name = "member_energy";
  return scores;
}

std::vector<ScoreInfo> make_table() {
  auto table = sed_scores();
  for (auto& score : sdde_scores()) table.push_back(std::move(score));
  return table;
}

}  // namespace

const std::vector<ScoreInfo>& score_table() {
  static const std::vector<ScoreInfo> table = make_table();
  return table;
}

const ScoreInfo& find_score(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& score : score_table()) {
    if (score.name == name) return score;
    known.push_back(score.name);
  }
  DISSENT_FAIL(kUsage, "score: expected one of {}, found '{}'", fmt::join(known, ", "), name);
}

const ScoreInfo* find_released_score(const std::string& released_name) {
  for (const auto& score : score_table())
    if (!released_name.empty() && score.released_name == released_name) return &score;
  return nullptr;
}

}  // namespace dissent::scores
