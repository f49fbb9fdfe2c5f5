#pragma once
#include <dissent/metrics/exact_sum.hpp>
#include <dissent/metrics/ranking.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace dissent::metrics {

// Ranking metrics from consecutive pieces of the sorted scores, so that no process needs all
// scores. Everything in a piece is an integer (ExactSum is one), and pieces are merged by adding
// integers: any division of the scores into pieces gives the same bits. With all scores in one
// process they are one piece (the second ranking_values below).

/// Samples with one score.
struct TieGroup {
  uint64_t positives = 0, negatives = 0;
};

/// Groups from the largest score down, of scores sorted descending; -0 equals 0.
std::vector<TieGroup> tie_groups(std::span<const double> positive,
                                 std::span<const double> negative);

/// What is computed in addition to AUROC, AUPR and average precision.
struct RankingRequest {
  std::vector<double> recalls{0.95};  ///< each in 0 .. 1: FPR at these
  bool risk = false;  ///< AURC: positives are right predictions, negatives wrong ones, the scores
                      ///< their confidences
};

/// One class taken for positive: the given one, or the other with scores negated.
struct RankingSide {
  double aupr = 0;               ///< trapezoid area, starting at recall 0 with precision 1
  double average_precision = 0;  ///< sum of recall steps x precision
  std::vector<double> fpr;       ///< at each recall: at the largest threshold that recalls as much
                                 ///< (conventions sklearn, sed)
  std::vector<double>
      fpr_dropped;  ///< at the points that scikit-learn's drop_intermediate keeps (sdde, openood)
  std::vector<double> fpr_nearest;  ///< at the point of the nearest recall, the larger of two that
                                    ///< are equally near (torch_uncertainty)
};

struct RankingValues {
  uint64_t positives = 0, negatives = 0;
  double auroc = 0;
  RankingSide positive, negative;
  /// Mean over k of the share of errors among the k most confident samples; ties count with their
  /// mean over all orders. Geifman & El-Yaniv 2017.
  double aurc = 0;
  /// The same as a trapezoid over coverages 1/N .. 1, divided by 1 - 1/N (torch_uncertainty); NaN
  /// for one sample.
  double aurc_trapezoid = 0;
};

/// Consecutive tie groups and how many samples score above them.
class RankingPiece {
 public:
  /// groups from the top; before: samples above the piece; total: all samples. Error::kUsage for a
  /// recall outside of 0 .. 1.
  RankingPiece(const std::vector<TieGroup>& groups, TieGroup before, TieGroup total,
               const RankingRequest& request);
  /// State: words(request) integers. A piece of zeros is one without groups.
  static int64_t words(const RankingRequest& request);
  void write(int64_t* words) const;
  static RankingPiece read(const int64_t* words, const RankingRequest& request);

 private:
  friend RankingValues ranking_values(const std::vector<RankingPiece>&, TieGroup,
                                      const RankingRequest&);
  /// Where recall is reached. Counts are of the whole curve up to and with a group.
  struct Crossing {
    int64_t found = 0, true_before = 0, false_before = 0, true_at = 0, false_at = 0;
    int64_t kept = 0, false_kept = 0;  ///< the first point from there on that drop_intermediate
                                       ///< keeps, if it lies in this piece
  };
  struct Side {
    int64_t groups = 0;
    TieGroup first, last;               ///< first and last group
    int64_t bends = 0, false_bend = 0;  ///< the first point at which the curve bends or ends
    int64_t false_end = 0;              ///< false positives with the last group
    ExactSum trapezoid, steps;          ///< true positives x precision
    std::vector<Crossing> crossings;    ///< one per recall
    template <class F>
    void each_integer(F f);
  };
  explicit RankingPiece(const RankingRequest& request);
  static void sweep(Side& side, const std::vector<TieGroup>& groups, TieGroup before,
                    TieGroup total, const RankingRequest& request);
  void add_risk(const std::vector<TieGroup>& groups, TieGroup before);
  static double dropped(const std::vector<const Side*>& sides, size_t recall, uint64_t negatives);
  static RankingSide finish(const std::vector<const Side*>& sides, TieGroup total,
                            const RankingRequest& request);

  __int128 twice_pairs_ = 0;  ///< twice the pairs in the right order, ties counted once
  ExactSum risk_;
  std::array<Side, 2> sides_;
};

/// The values of all pieces, given in descending order of their scores.
/// Throws Error::kData if positives or negatives are missing; with request.risk one of them may be
/// missing (AURC is defined, undefined values are NaN).
RankingValues ranking_values(const std::vector<RankingPiece>& pieces, TieGroup total,
                             const RankingRequest& request);

/// The same for scores of one process.
RankingValues ranking_values(const Ranking& ranking, const RankingRequest& request = {});

}  // namespace dissent::metrics
