#include <dissent/metrics/ranking_values.hpp>

#include "metrics/host_values.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace dissent::metrics {
namespace {

double ratio_of(uint64_t part, uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

// False-positive rate at the first point, from the crossing of the recall on, at which the curve
// bends or ends: the points that scikit-learn's drop_intermediate keeps.
double RankingPiece::dropped(const std::vector<const Side*>& sides, size_t recall,
                             uint64_t negatives) {
  const Side* pending = nullptr;
  for (const auto* side : sides) {
    if (side->groups == 0) continue;

    // The recall may be reached near the end of one piece, and the next kept point be in a later
    // one: whether a point bends depends on the first group of the next piece.
    const auto& crossing = side->crossings[recall];

    if (pending) {
      if (side->first.positives != pending->last.positives ||
          side->first.negatives != pending->last.negatives)
        return ratio_of(static_cast<uint64_t>(pending->false_end), negatives);
      if (side->bends) return ratio_of(static_cast<uint64_t>(side->false_bend), negatives);
      pending = side;
    } else if (crossing.found) {
      if (crossing.kept) return ratio_of(static_cast<uint64_t>(crossing.false_kept), negatives);
      pending = side;
    }
  }
  return 1;
}

RankingSide RankingPiece::finish(const std::vector<const Side*>& sides, TieGroup total,
                                 const RankingRequest& request) {
  RankingSide out;
  ExactSum trapezoid, steps;
  for (const auto* side : sides) {
    trapezoid.merge(side->trapezoid);
    steps.merge(side->steps);
  }

  out.aupr = trapezoid.finish() / static_cast<double>(total.positives);
  out.average_precision = steps.finish() / static_cast<double>(total.positives);
  for (size_t r = 0; r < request.recalls.size(); ++r) {
    // Each recall is reached in exactly one piece.
    const double recall = request.recalls[r];
    Crossing at;
    for (const auto* side : sides)
      if (side->crossings[r].found) at = side->crossings[r];
    const double low = ratio_of(static_cast<uint64_t>(at.true_before), total.positives),
                 high = ratio_of(static_cast<uint64_t>(at.true_at), total.positives);

    // The point nearest to the recall may be the one before it is reached.
    const bool below = at.true_before + at.false_before > 0 && recall - low < high - recall;
    out.fpr.push_back(ratio_of(static_cast<uint64_t>(at.false_at), total.negatives));
    out.fpr_nearest.push_back(
        ratio_of(static_cast<uint64_t>(below ? at.false_before : at.false_at), total.negatives));
    out.fpr_dropped.push_back(recall == 0 ? 0 : dropped(sides, r, total.negatives));
  }
  return out;
}

RankingValues ranking_values(const std::vector<RankingPiece>& pieces, TieGroup total,
                             const RankingRequest& request) {
  const bool enough = request.risk ? total.positives + total.negatives > 0
                                   : total.positives > 0 && total.negatives > 0;
  DISSENT_CHECK(enough, kData,
                "ranking: expected at least one positive and one negative sample, found {} and {}",
                total.positives, total.negatives);

  RankingValues values{total.positives, total.negatives, 0, {}, {}, 0, 0};
  __int128 twice = 0;
  ExactSum risk;
  std::vector<const RankingPiece::Side*> down, up;
  for (const auto& piece : pieces) {
    twice += piece.twice_pairs_;
    risk.merge(piece.risk_);
    down.push_back(&piece.sides_[0]);
    up.insert(up.begin(), &piece.sides_[1]);
  }

  // With the other class as the positive one, pieces are in reverse order.
  const auto pairs =
      static_cast<__int128>(total.positives) * static_cast<__int128>(total.negatives);
  values.auroc = static_cast<double>(twice) / static_cast<double>(2 * pairs);
  values.positive = RankingPiece::finish(down, total, request);
  values.negative = RankingPiece::finish(up, {total.negatives, total.positives}, request);

  // AURC, and the trapezoid over coverages, which needs the risk at both ends.
  const auto count = static_cast<double>(total.positives + total.negatives);
  values.aurc = risk.finish() / count;

  // Trapezoids over the coverages 1 / N .. 1: the sum of all risks without half of the first and
  // half of the last, divided by N - 1 steps. The first is that of the largest scores.
  const auto top =
      std::find_if(down.begin(), down.end(), [](const auto* side) { return side->groups > 0; });
  const double first =
      (*top)->first.negatives == 0
          ? 0
          : ratio_of((*top)->first.negatives, (*top)->first.positives + (*top)->first.negatives);
  values.aurc_trapezoid =
      count < 2 ? std::nan("")
                : (risk.finish() - (first + static_cast<double>(total.negatives) / count) / 2) /
                      (count - 1);
  return values;
}

RankingValues ranking_values(const Ranking& ranking, const RankingRequest& request) {
  const auto sorted = [](const at::Tensor& scores) {
    std::vector<double> values(scores.const_data_ptr<double>(),
                               scores.const_data_ptr<double>() + scores.numel());
    std::sort(values.begin(), values.end(), std::greater<>());
    return values;
  };

  const auto positive = sorted(ranking.positive_scores()),
             negative = sorted(ranking.negative_scores());

  // All scores are one piece.
  const TieGroup total{positive.size(), negative.size()};
  return ranking_values({RankingPiece(tie_groups(positive, negative), {}, total, request)}, total,
                        request);
}

}  // namespace dissent::metrics
