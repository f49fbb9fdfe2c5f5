#pragma once
#include <dissent/metrics/ranking_values.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

// The only place that merges metric state over ranks. Everything here is collective over comm,
// returns the same on every rank, and has the same bits for any number of ranks and any
// distribution of the samples over them: counts and sums are integers (metrics/exact_sum.hpp).
namespace dissent {

/// Merges a metric state of integers (state() of Accuracy, ExactMean, Reliability,
/// ClasswiseReliability, Classification, Diversity; same shape on every rank) over all ranks.
/// Contiguous i64 on the host.
at::Tensor merged_state(Communicator& comm, at::Tensor state);

/// Scores [n] f32 or f64 of this rank's samples of a set (any number, including none), for the
/// functions below: as f64, in descending order. If any rank has a NaN, all ranks throw
/// Error::kData: "set NAME: score SCORE: expected numbers, found 3 of 1000 NaN".
class SortedScores {
 public:
  SortedScores(Communicator& comm, const at::Tensor& scores, const std::string& set,
               const std::string& score);
  /// Several sets as one (full spectrum: the ID set and its covariate shifts).
  static SortedScores joined(std::vector<SortedScores> parts);
  std::span<const double> values() const { return values_; }
  /// Samples of this rank that score above the value.
  int64_t above(double value) const;
  /// Samples of all ranks.
  int64_t total() const { return total_; }

 private:
  SortedScores() = default;
  std::vector<double> values_;
  int64_t total_ = 0;
};

/// How many values are exchanged at once; changes only speed and memory.
struct RankOptions {
  int64_t round_values = int64_t{1} << 20;
};

/// AUROC, AUPR, average precision, FPR and AURC of scores that are distributed over ranks. Throws
/// Error::kData if there are no positives or no negatives. The sorted scores are cut at keys
/// that every rank sampled from its own, into rounds of at most about round_values; each round goes
/// to all ranks, and one of them ranks it. Memory in addition to the scores: two rounds, and 24
/// (ranks x cuts) bytes; no rank holds all scores. Time: n log n for the rank's own scores, and N
/// scores received by each rank.
metrics::RankingValues rank_scores(Communicator& comm, const SortedScores& positive,
                                   const SortedScores& negative,
                                   const metrics::RankingRequest& request = {},
                                   RankOptions options = {});

/// The scores at positions of the joint descending order (0: the largest), each in 0 .. total - 1.
/// By bisection of the 64-bit keys: 64 sums of one number per position.
std::vector<double> scores_at(Communicator& comm, const SortedScores& scores,
                              const std::vector<int64_t>& positions);

/// Correct classification rates, metrics::CorrectClassification over ranks: right are the
/// confidences of right predictions on ID samples, id_count all ID samples of all ranks, ood the
/// confidences of OOD samples; one rate for each false-positive rate in 0 .. 1.
std::vector<double> ccr_over_ranks(Communicator& comm, const SortedScores& right, int64_t id_count,
                                   const SortedScores& ood, const std::vector<double>& fprs);

/// metrics::equal_mass_error over ranks. confidence [n] f32 or f64, right [n] bool of this rank,
/// sorted: the same confidences.
double equal_mass_error_over_ranks(Communicator& comm, const SortedScores& sorted,
                                   const at::Tensor& confidence, const at::Tensor& right,
                                   int64_t bins = 15);

/// metrics::conformal_quantile over ranks, of calibration scores: the ceil((n + 1) level)-th
/// smallest, infinite if there is none.
double conformal_quantile_over_ranks(Communicator& comm, const SortedScores& scores, double level);

}  // namespace dissent
