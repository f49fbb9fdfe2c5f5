#pragma once
#include <dissent/scores/input.hpp>

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
  kLogits,  ///< logits; other outputs are taken as if they were
};

/// One row of the table of per-sample scores.
struct ScoreInfo {
  std::string name;
  std::string released_name;  ///< in SED's evaluation; empty: it does not have this score
  std::string meaning;        ///< one line for --help and the docs
  Needs needs = Needs::kEither;
  int64_t min_members = 1;
  Positive positive = Positive::kOod;           ///< larger values are expected of this class
  Positive released_positive = Positive::kOod;  ///< what SED's evaluation takes (convention "sed");
                                                ///< another one where AUROC comes out as 1 - AUROC
  std::string citation;
  /// outputs [M, B, C] -> [B]
  std::function<at::Tensor(const at::Tensor& outputs, InputKind kind)> function;
  /// The same as released, where that differs in more than orientation (mutual_information depends
  /// on the batch); empty: as `function`.
  std::function<at::Tensor(const at::Tensor& outputs, InputKind kind)> released_function = {};
};

/// All scores, in the order of the docs.
const std::vector<ScoreInfo>& score_table();

/// The score of this name. Throws Error::kUsage that lists the known names.
const ScoreInfo& find_score(const std::string& name);

/// The score of this released name, if there is one (SED's column names).
const ScoreInfo* find_released_score(const std::string& released_name);

}  // namespace dissent::scores
