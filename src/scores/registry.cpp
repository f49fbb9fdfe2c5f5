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

at::Tensor batch_mutual_information(const at::Tensor& outputs, InputKind kind) {
  return mutual_information(outputs, kind, MutualInformation::kReleasedBatch);
}

std::vector<ScoreInfo> sed_scores() {
  const auto either = Needs::kEither, logits = Needs::kLogits;
  const auto id = Positive::kId, ood = Positive::kOod;
  return {
      {"pds", "div_continous_unique_per_sample",
       "sum over classes of the largest probability that any member gives", either, 1, ood, ood,
       kSed, pds},
      {"different_predictions", "div_different_preds_per_sample",
       "number of different classes that the members predict", either, 1, ood, ood, kSed,
       different_predictions},
      {"ensemble_entropy", "ens_entropy_per_sample", "entropy of the mean prediction, nats", either,
       1, ood, ood,
       "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep "
       "Ensembles, 2017",
       ensemble_entropy},
      {"average_entropy", "average_entropy_per_sample", "mean entropy of the members, nats", either,
       1, ood, ood, kSed, average_entropy},
      {"mutual_information", "mutual_information_per_sample",
       "entropy of the mean minus the mean entropy, nats", either, 1, ood, id,
       "Depeweg et al., Decomposition of Uncertainty in Bayesian Deep Learning, 2018",
       [](const at::Tensor& outputs, InputKind kind) { return mutual_information(outputs, kind); },
       batch_mutual_information},
      {"average_energy", "average_energy_per_sample",
       "minus the mean log-sum-exp of the members' logits", logits, 1, ood, ood,
       "Liu et al., Energy-based Out-of-distribution Detection, 2020",
       [](const at::Tensor& outputs, InputKind) { return average_energy(outputs); }},
      {"average_max_logit", "average_max_logit_per_sample",
       "minus the mean largest logit of the members", logits, 1, ood, id,
       "Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, 2022",
       [](const at::Tensor& outputs, InputKind) { return average_max_logit(outputs); }},
      {"a2d_score", "a2d_score_per_sample",
       "mean log disagreement over ordered pairs of members (minus the A2D loss)", either, 2, ood,
       ood, "Pagliardini et al., Agree to Disagree, 2023", a2d_score},
      {"similarity", "similarity_between_models_per_sample",
       "mean L2 distance between members' probabilities", either, 1, ood, ood, kSed, similarity},
      {"msp", "ensemble_conf", "largest probability of the ensemble (mean of logits)", either, 1,
       id, id,
       "Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution "
       "Examples in Neural Networks, 2017",
       msp},
      {"mean_member_confidence", "mean_submodel_conf",
       "mean over members of their largest probability", either, 1, id, id, kSed,
       mean_member_confidence},
  };
}

// SDDE's aggregations under their names; average_energy here would be SED's, of the opposite sign.
std::vector<ScoreInfo> sdde_scores() {
  const auto row = [](const char* name, Aggregation which, const char* meaning) {
    return ScoreInfo{.name = name,
                     .released_name = {},
                     .meaning = meaning,
                     .needs = Needs::kLogits,
                     .min_members = min_members(which),
                     .positive = Positive::kId,
                     .released_positive = Positive::kId,
                     .citation = kSdde,
                     .function = [which](const at::Tensor& outputs, InputKind) {
                       return aggregate(which, outputs);
                     }};
  };
  return {
      row("average", Aggregation::kAverage, "largest probability of the mean logits"),
      row("prob_average", Aggregation::kProbAverage, "largest mean probability of the members"),
      row("prob_minmax", Aggregation::kProbMinmax,
          "smallest over members of their largest probability"),
      row("prob_maxstd", Aggregation::kProbMaxstd,
          "minus the deviation over members of their largest probability"),
      row("logit_average", Aggregation::kLogitAverage, "largest mean logit"),
      row("minmax", Aggregation::kMinmax, "smallest over members of their largest logit"),
      row("stdmax", Aggregation::kStdmax,
          "minus the largest over classes of the deviation over members of the logit"),
      row("maxstd", Aggregation::kMaxstd,
          "minus the deviation over members of their largest logit"),
      row("average_minmax", Aggregation::kAverageMinmax,
          "smallest logit over members of the class that the mean logits predict"),
      row("energy", Aggregation::kEnergy, "log-sum-exp of the mean logits"),
      row("member_energy", Aggregation::kAverageEnergy,
          "mean over members of the log-sum-exp of their logits (SDDE's average-energy; minus "
          "average_energy)"),
  };
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
