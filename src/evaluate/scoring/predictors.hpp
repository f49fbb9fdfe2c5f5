#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "evaluate/options.hpp"
#include "evaluate/subjects/ensemble_file.hpp"

namespace dissent {

struct PlannedScore;

/// What predicts: one network (a member, a soup), or several whose outputs are combined.
struct Predictor {
  std::string name;            ///< "ensemble", "member:3", "soup", "greedy", "size:2:0"
  std::vector<int64_t> units;  ///< of the ensemble, ascending
  bool combined = false;       ///< whether the outputs of several networks are combined
  bool sub_ensemble = false;   ///< whether it is one of PredictorSet::sub_ensembles
};

/// The predictors of one ensemble that an evaluation computes.
struct PredictorSet {
  std::vector<Predictor> combined;       ///< "ensemble", "greedy"
  std::vector<Predictor> networks;       ///< soups, and members if they are needed
  std::vector<Predictor> sub_ensembles;  ///< of evaluate.sub_ensembles: "size:2:0", ..
  /// The elements of all lists, in this order; they are not copied.
  std::vector<const Predictor*> all() const;
  /// The same for `combined` and `networks`.
  std::vector<const Predictor*> without_sub_ensembles() const;
};

/// The predictors that these options and scores need; greedy_members: those chosen on validation,
/// empty before the choice.
PredictorSet predictors_of(const LoadedEnsemble& ensemble, const std::vector<PlannedScore>& scores,
                           const std::vector<int64_t>& greedy_members,
                           const EvaluateOptions& options);

/// Logits with which a predictor predicts, [B, C], from those of its networks [k, B, C], combined
/// as evaluate.combine says; log of the mean for mean_probabilities.
at::Tensor output_logits(const at::Tensor& logits, const Predictor& predictor,
                         const EvaluateOptions& options);

/// The rows of outputs [units, B, X] that belong to the units `selected`: [k, B, X]; a view if
/// these are neighbours. Error::kInternal for a unit that the outputs do not have.
at::Tensor unit_rows(const at::Tensor& values, const std::vector<int64_t>& units,
                     const std::vector<int64_t>& selected);

}  // namespace dissent
