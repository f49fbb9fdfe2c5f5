#pragma once
#include <cstdint>
#include <optional>

#include "evaluate/scoring/score_plan.hpp"
#include "evaluate/subjects/ensemble_file.hpp"
#include "storage/saliency_file.hpp"

namespace dissent {

/// Saliency of the members of one ensemble on some images.
struct EnsembleSaliency {
  SaliencyMaps maps;
  /// Mean over images and pairs of members of the cosine of their standardised maps, -1 / (M - 1)
  /// .. 1, which SDDE's losses minimise. None for one member.
  std::optional<double> cosine;
};

/// Maps of the true class of the first `count` images of a set (all if it has fewer); the images as
/// the networks see them, before normalisation. Computed in blocks of a fixed size, so with the
/// same bits on every rank. Not collective. Error::kUsage naming run and reason for heads and
/// caches.
EnsembleSaliency ensemble_saliency(const LoadedEnsemble& ensemble, const EvaluationSet& set,
                                   int64_t count, const EvaluateOptions& options);

}  // namespace dissent
