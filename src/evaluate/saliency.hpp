#pragma once
#include <optional>

#include "evaluate/ensemble_file.hpp"
#include "evaluate/score_plan.hpp"
#include "storage/saliency_file.hpp"

namespace dissent {

/// Saliency of the members of one ensemble on some pictures.
struct EnsembleSaliency {
  SaliencyMaps maps;
  /// Mean over pictures and pairs of members of the cosine of their standardised maps, -1 / (M - 1)
  /// .. 1: what SDDE makes small. None of one member.
  std::optional<double> cosine;
};

/// Maps of the true class of the first `count` pictures of a set (all if it has fewer); the
/// pictures as the networks see them, before normalisation. In blocks of a fixed size, so of the
/// same bits on every rank that computes them. Not collective. Error::kUsage naming run and reason
/// for heads and caches.
EnsembleSaliency ensemble_saliency(const LoadedEnsemble& ensemble, const EvaluationSet& set,
                                   int64_t count, const EvaluateOptions& options);

}  // namespace dissent
