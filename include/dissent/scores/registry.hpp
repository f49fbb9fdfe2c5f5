#pragma once
#include <dissent/scores/input.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace dissent::scores {

/// Which samples a larger value belongs to, so which class is positive for AUROC.
enum class Positive { kId, kOod };

/// What a score takes.
enum class Needs {
  kEither,  ///< logits or probabilities
  kLogits,  ///< logits; other outputs are treated as logits
};

/// Scores that `dissent evaluate` computes together in one pass over the logits
/// (src/evaluate/scoring/fused_scores.hpp). kNone: the score has no code there and is computed by
/// its own function.
enum class FusedScore {
  kNone,
  kPds,
  kDifferentPredictions,
  kEnsembleEntropy,
  kAverageEntropy,
  kMutualInformation,
  kAverageEnergy,
  kAverageMaxLogit,
  kA2d,
  kSimilarity,
  kMsp,
  kMeanMemberConfidence,
  kAverage,
  kProbAverage,
  kProbMinmax,
  kProbMaxstd,
  kLogitAverage,
  kMinmax,
  kStdmax,
  kMaxstd,
  kAverageMinmax,
  kMemberEnergy,
  kCount,
};

/// A score of one sample: outputs [M, B, C] -> [B].
using ScoreFunction = std::function<at::Tensor(const at::Tensor& outputs, InputKind kind)>;

/// One entry of the table of per-sample scores.
struct ScoreInfo {
  std::string name;
  std::string released_name = {};  ///< in SED's evaluation; empty: SED does not have this score
  std::string meaning;             ///< one line for --help and the docs
  Needs needs = Needs::kEither;
  int64_t min_members = 1;
  Positive positive = Positive::kOod;           ///< larger values are expected of this class
  Positive released_positive = Positive::kOod;  ///< as in SED's evaluation (convention "sed"); if
                                                ///< it differs, AUROC becomes 1 - AUROC
  std::string citation;
  ScoreFunction function;
  /// As released by SED, if that differs in more than orientation (mutual_information depends on
  /// the batch); empty: as `function`.
  ScoreFunction released_function = {};
  FusedScore fused = FusedScore::kNone;
  bool constant_for_one_member = false;  ///< says nothing about a single network
  bool diversity_mean = false;           ///< `evaluate.diversity` can report its mean over a set
  bool postprocessor_preferred =
      false;  ///< `evaluate.scores` means the post-processor of this name
};

/// All scores, in the order of the docs.
const std::vector<ScoreInfo>& score_table();

/// The score of this name.
/// Throws Error::kUsage that lists the known names.
const ScoreInfo& find_score(const std::string& name);

/// The score of this released name, if there is one (SED's column names).
const ScoreInfo* find_released_score(const std::string& released_name);

}  // namespace dissent::scores
