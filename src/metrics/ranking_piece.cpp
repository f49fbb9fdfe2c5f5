// One piece of the sorted scores, reduced to the integers from which ranking metrics are computed.
#include <cstdint>
#include <span>
#include <vector>

#include <dissent/metrics/ranking_values.hpp>

#include "metrics/host_values.hpp"

namespace dissent::metrics {
namespace {

double part_of(uint64_t part, uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}
double precision_of(TieGroup counts) {
  return counts.positives + counts.negatives == 0
             ? 1
             : part_of(counts.positives, counts.positives + counts.negatives);
}
TieGroup plus(TieGroup a, TieGroup b) {
  return {a.positives + b.positives, a.negatives + b.negatives};
}
bool same(TieGroup a, TieGroup b) {
  return a.positives == b.positives && a.negatives == b.negatives;
}

// The smallest number of positives whose share of all, as it is rounded, is at least the recall.
uint64_t needed_for(double recall, uint64_t positives) {
  // The product may round to either side; the loops compare shares as they are computed
  // elsewhere.
  auto count = static_cast<uint64_t>(recall * static_cast<double>(positives));
  while (count > 0 && part_of(count - 1, positives) >= recall) --count;
  while (count < positives && part_of(count, positives) < recall) ++count;
  return count;
}

// Exchanges the classes and reverses the order: the other class becomes the positive one.
std::vector<TieGroup> turned(const std::vector<TieGroup>& groups) {
  std::vector<TieGroup> out;
  out.reserve(groups.size());
  for (auto group = groups.rbegin(); group != groups.rend(); ++group)
    out.push_back({group->negatives, group->positives});
  return out;
}

}  // namespace

std::vector<TieGroup> tie_groups(std::span<const double> positive,
                                 std::span<const double> negative) {
  std::vector<TieGroup> groups;

  // Merges two descending lists; scores that are equal form one group, in which no order is
  // known.
  size_t p = 0, n = 0;
  while (p < positive.size() || n < negative.size()) {
    const bool from_positive =
        n == negative.size() || (p < positive.size() && positive[p] >= negative[n]);
    const double score = from_positive ? positive[p] : negative[n];
    const size_t first_p = p, first_n = n;
    while (p < positive.size() && positive[p] == score) ++p;
    while (n < negative.size() && negative[n] == score) ++n;
    groups.push_back({p - first_p, n - first_n});
  }
  return groups;
}

RankingPiece::RankingPiece(const RankingRequest& request) {
  for (const double recall : request.recalls) check_range("ranking", "recall", recall, 0, 1);
  for (auto& side : sides_) side.crossings.resize(request.recalls.size());
}

RankingPiece::RankingPiece(const std::vector<TieGroup>& groups, TieGroup before, TieGroup total,
                           const RankingRequest& request)
    : RankingPiece(request) {
  // Pairs with a negative of this group: 2 for each positive above it, 1 for each tied one.
  auto above = before;
  for (const auto& group : groups) {
    twice_pairs_ += static_cast<__int128>(group.negatives) *
                    static_cast<__int128>(2 * above.positives + group.positives);
    above = plus(above, group);
  }

  // Twice: with each class as the positive one. The second side sees the groups from the smallest
  // score on, with what lies below this piece already counted.
  sweep(sides_[0], groups, before, total, request);
  sweep(sides_[1], turned(groups),
        {total.negatives - above.negatives, total.positives - above.positives},
        {total.negatives, total.positives}, request);
  if (request.risk) add_risk(groups, before);
}

void RankingPiece::sweep(Side& side, const std::vector<TieGroup>& groups, TieGroup before,
                         TieGroup total, const RankingRequest& request) {
  const size_t count = groups.size();
  if (count == 0) return;

  side.groups = static_cast<int64_t>(count);
  side.first = groups.front();
  side.last = groups.back();

  // Counts above the current group, continued from the pieces with larger scores.
  auto above = before;
  double precision_above = precision_of(above);

  // Recalls become numbers of true positives, so that crossings are exact.
  std::vector<uint64_t> needed;
  for (const double recall : request.recalls) needed.push_back(needed_for(recall, total.positives));
  std::vector<bool> waiting(request.recalls.size(), false);
  for (size_t i = 0; i < count; ++i) {
    // Area below the precision-recall curve: as a trapezoid, and as average precision.
    const auto at = plus(above, groups[i]);
    const double precision = precision_of(at), gained = static_cast<double>(groups[i].positives);
    if (groups[i].positives > 0) {
      side.trapezoid.add(gained * (precision + precision_above) / 2);
      side.steps.add(gained * precision);
    }
    precision_above = precision;

    // scikit-learn's roc_curve keeps the points at which the curve bends or ends.
    const bool last = at.positives == total.positives && at.negatives == total.negatives;
    const bool bends = last || (i + 1 < count && !same(groups[i], groups[i + 1]));
    const auto false_at = static_cast<int64_t>(at.negatives);
    if (bends && !side.bends) {
      side.bends = 1;
      side.false_bend = false_at;
    }

    // The group in which each recall is reached, and the first point from there on that is kept.
    for (size_t r = 0; r < request.recalls.size(); ++r) {
      auto& crossing = side.crossings[r];
      if (above.positives < needed[r] && at.positives >= needed[r]) {
        crossing = {1,
                    static_cast<int64_t>(above.positives),
                    static_cast<int64_t>(above.negatives),
                    static_cast<int64_t>(at.positives),
                    false_at,
                    0,
                    0};
        waiting[r] = true;
      }

      const bool first = above.positives + above.negatives == 0;
      if (waiting[r] && (first || bends)) {
        crossing.kept = 1;
        crossing.false_kept = false_at;
        waiting[r] = false;
      }
    }
    above = at;
  }
  side.false_end = static_cast<int64_t>(above.negatives);
}

void RankingPiece::add_risk(const std::vector<TieGroup>& groups, TieGroup before) {
  for (const auto& group : groups) {
    const uint64_t tied = group.positives + group.negatives,
                   seen = before.positives + before.negatives;

    // Tied predictions have no order: each adds the group's share of wrong ones to the risk of
    // its coverage.
    const double wrong_share = part_of(group.negatives, tied),
                 wrong = static_cast<double>(before.negatives);
    for (uint64_t j = 1; j <= tied; ++j)
      risk_.add((wrong + wrong_share * static_cast<double>(j)) / static_cast<double>(seen + j));
    before = plus(before, group);
  }
}

template <class F>
void RankingPiece::Side::each_integer(F f) {
  // One list of all integers, in the order of a written piece, for words(), write() and read().
  const auto counts = [&f](TieGroup& group) {
    for (auto* count : {&group.positives, &group.negatives}) {
      auto word = static_cast<int64_t>(*count);
      f(word);
      *count = static_cast<uint64_t>(word);
    }
  };

  f(groups), counts(first), counts(last), f(bends), f(false_bend), f(false_end);
  for (auto& c : crossings)
    f(c.found), f(c.true_before), f(c.false_before), f(c.true_at), f(c.false_at), f(c.kept),
        f(c.false_kept);
}

int64_t RankingPiece::words(const RankingRequest& request) {
  RankingPiece piece(request);
  int64_t integers = 0;
  for (auto& side : piece.sides_) side.each_integer([&](int64_t&) { ++integers; });

  // Twice the pairs in 4 words, the risk, two areas per side, and the integers of both sides.
  return 4 + ExactSum::kWords + 2 * 2 * ExactSum::kWords + integers;
}

void RankingPiece::write(int64_t* words) const {
  // The order of words(): the 128-bit number of pairs, the risk, then both sides.
  write_integer(twice_pairs_, words);
  words += 4;
  const auto put = [&words](const ExactSum& sum) { sum.write(words), words += ExactSum::kWords; };
  put(risk_);
  for (auto side : sides_) {
    put(side.trapezoid), put(side.steps);
    side.each_integer([&words](int64_t& value) { *words++ = value; });
  }
}

RankingPiece RankingPiece::read(const int64_t* words, const RankingRequest& request) {
  // In the order of write(). take() moves the pointer first, then reads the sum that it has passed.
  RankingPiece piece(request);
  piece.twice_pairs_ = read_integer("ranking", words);
  words += 4;
  const auto take = [&words] {
    return words += ExactSum::kWords, ExactSum::read(words - ExactSum::kWords);
  };

  piece.risk_ = take();
  for (auto& side : piece.sides_) {
    side.trapezoid = take();
    side.steps = take();
    side.each_integer([&words](int64_t& value) { value = *words++; });
  }
  return piece;
}

}  // namespace dissent::metrics
