// Ranks scores that are distributed over ranks; see reduce.hpp.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "evaluate/values/reduce.hpp"

namespace dissent {
namespace {

using metrics::RankingPiece;
using metrics::TieGroup;

// Upper limit of cuts, however many scores there are.
constexpr int64_t kMostCuts = 4096;
constexpr int kClasses = 2;

// Positions in this rank's sorted scores of both classes.
using Bounds = std::array<int64_t, kClasses>;

// The sorted order is a sequence of segments: alternately the scores between two cuts, and the
// scores equal to a cut, of which there may be any number.
struct Segment {
  Bounds first, last;          ///< of this rank
  std::vector<Bounds> counts;  ///< of each rank
  TieGroup total;              ///< of all
  bool one_score = false;
};

// Segments that are exchanged together; or one segment of equal scores, which needs no exchange.
struct Round {
  size_t first = 0, last = 0;
  TieGroup before, total;
};

uint64_t size_of(const TieGroup& group) { return group.positives + group.negatives; }

std::span<const double> values_of(const SortedScores* const* classes, int c) {
  return classes[c]->values();
}

// Cuts: regular samples of every rank's scores, descending and distinct. Collective.
std::vector<double> common_cuts(Communicator& comm, const SortedScores* const* classes,
                                int64_t round_values) {
  const int64_t all = classes[0]->total() + classes[1]->total();
  const int64_t every =
      std::max({int64_t{1}, round_values / (kClasses * comm.size()), all / kMostCuts});

  // Between two cuts lie fewer than `every` scores of each class and rank: about round_values in
  // all, or more if kMostCuts limits the number of cuts.
  std::vector<double> own;
  for (int c = 0; c < kClasses; ++c) {
    const auto values = values_of(classes, c);
    for (int64_t i = every - 1; i < static_cast<int64_t>(values.size()); i += every)
      own.push_back(values[i]);
  }

  // All ranks get all samples, so all compute the same cuts without a further message.
  const auto counts = all_gather_integer(comm, static_cast<int64_t>(own.size()));
  const auto gathered = comm.all_gather(at::tensor(own, at::kDouble), counts);
  std::vector<double> cuts(gathered.const_data_ptr<double>(),
                           gathered.const_data_ptr<double>() + gathered.numel());
  std::sort(cuts.begin(), cuts.end(), std::greater<>());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

// Segments in descending order, with the counts of every rank. Collective.
std::vector<Segment> make_segments(Communicator& comm, const SortedScores* const* classes,
                                   const std::vector<double>& cuts) {
  std::vector<Segment> segments(2 * cuts.size() + 1);
  for (int c = 0; c < kClasses; ++c) {
    const auto values = values_of(classes, c);

    // Scores are descending. Even segment 2 i: those above cut i and below cut i - 1; odd segment
    // 2 i + 1: those equal to cut i, however many.
    int64_t at = 0;
    for (size_t s = 0; s < segments.size(); ++s) {
      auto end = values.end();
      if (s % 2 == 1)
        end = std::upper_bound(values.begin() + at, values.end(), cuts[s / 2], std::greater<>());
      else if (s / 2 < cuts.size())
        end = std::lower_bound(values.begin() + at, values.end(), cuts[s / 2], std::greater<>());
      segments[s].one_score = s % 2 == 1;
      segments[s].first[c] = at;
      segments[s].last[c] = at = end - values.begin();
    }
  }

  // Every rank gets the sizes of all segments on all ranks.
  const auto words = static_cast<int64_t>(segments.size()) * kClasses;
  auto own = at::empty({words}, at::kLong);
  for (size_t s = 0; s < segments.size(); ++s)
    for (int c = 0; c < kClasses; ++c)
      own.data_ptr<int64_t>()[s * kClasses + c] = segments[s].last[c] - segments[s].first[c];

  const auto all = comm.all_gather(own, std::vector<int64_t>(comm.size(), words));
  const auto* count = all.const_data_ptr<int64_t>();
  for (int rank = 0; rank < comm.size(); ++rank)
    for (auto& segment : segments) {
      segment.counts.push_back({count[0], count[1]});
      segment.total.positives += count[0];
      segment.total.negatives += count[1];
      count += kClasses;
    }
  return segments;
}

std::vector<Round> make_rounds(const std::vector<Segment>& segments, uint64_t round_values) {
  std::vector<Round> rounds;
  TieGroup before;
  for (size_t s = 0; s < segments.size(); ++s) {
    const auto& total = segments[s].total;
    if (size_of(total) == 0) continue;

    // A segment that does not fit into the round begins a new one.
    if (rounds.empty() || size_of(rounds.back().total) + size_of(total) > round_values)
      rounds.push_back({s, s, before, {}});
    auto& round = rounds.back();
    round.last = s + 1;
    for (auto* sum : {&round.total, &before}) {
      sum->positives += total.positives;
      sum->negatives += total.negatives;
    }
  }
  return rounds;
}

// All ranks' scores of a round, per class in descending order, if `needed`. Collective.
std::array<std::vector<double>, kClasses> gather_round(Communicator& comm,
                                                       const SortedScores* const* classes,
                                                       const std::vector<Segment>& segments,
                                                       const Round& round, bool needed) {
  std::array<std::vector<double>, kClasses> sorted;
  std::vector<Bounds> counts(comm.size(), Bounds{});
  std::vector<int64_t> sizes(comm.size(), 0);
  for (size_t s = round.first; s < round.last; ++s)
    for (int rank = 0; rank < comm.size(); ++rank)
      for (int c = 0; c < kClasses; ++c) {
        counts[rank][c] += segments[s].counts[rank][c];
        sizes[rank] += segments[s].counts[rank][c];
      }

  // A rank's scores of a round are adjacent in its sorted list: positives, then negatives, in one
  // message.
  auto own = at::empty({sizes[comm.rank()]}, at::kDouble);
  auto* to = own.data_ptr<double>();
  for (int c = 0; c < kClasses; ++c)
    to = std::copy_n(values_of(classes, c).begin() + segments[round.first].first[c],
                     segments[round.last - 1].last[c] - segments[round.first].first[c], to);
  const auto all = comm.all_gather(own, sizes);
  if (!needed) return sorted;

  // Pieces of the ranks are sorted, so they are merged instead of sorted again.
  const auto* from = all.const_data_ptr<double>();
  for (int rank = 0; rank < comm.size(); ++rank)
    for (int c = 0; c < kClasses; ++c) {
      auto& values = sorted[c];
      const auto middle = static_cast<std::ptrdiff_t>(values.size());
      values.insert(values.end(), from, from + counts[rank][c]);
      std::inplace_merge(values.begin(), values.begin() + middle, values.end(), std::greater<>());
      from += counts[rank][c];
    }
  return sorted;
}

}  // namespace

metrics::RankingValues rank_scores(Communicator& comm, const SortedScores& positive,
                                   const SortedScores& negative,
                                   const metrics::RankingRequest& request, RankOptions options) {
  DISSENT_CHECK(options.round_values >= 1, kUsage,
                "rank_scores: round_values: expected 1 or more, found {}", options.round_values);
  agree(comm, [&] {
    const bool enough = request.risk ? positive.total() + negative.total() > 0
                                     : positive.total() > 0 && negative.total() > 0;
    DISSENT_CHECK(
        enough, kData,
        "ranking: expected at least one positive and one negative sample, found {} and {}",
        positive.total(), negative.total());
    metrics::RankingPiece::words(request);  // checks the request
  });

  // The same division into rounds on every rank.
  const SortedScores* classes[kClasses] = {&positive, &negative};
  const TieGroup total{static_cast<uint64_t>(positive.total()),
                       static_cast<uint64_t>(negative.total())};
  const auto segments =
      make_segments(comm, classes, common_cuts(comm, classes, options.round_values));
  const auto rounds = make_rounds(segments, static_cast<uint64_t>(options.round_values));

  // Each round is gathered by all ranks, and one of them turns it into a piece.
  const int64_t words = RankingPiece::words(request);
  auto states = at::zeros({static_cast<int64_t>(rounds.size()), words}, at::kLong);
  for (size_t r = 0; r < rounds.size(); ++r) {
    const auto& round = rounds[r];
    const bool mine = static_cast<int>(r % comm.size()) == comm.rank();
    std::vector<TieGroup> groups{round.total};
    const bool one_score = round.last - round.first == 1 && segments[round.first].one_score;
    if (!one_score) {
      const auto sorted = gather_round(comm, classes, segments, round, mine);
      groups = metrics::tie_groups(sorted[0], sorted[1]);
    }

    if (mine)
      RankingPiece(groups, round.before, total, request)
          .write(states[static_cast<int64_t>(r)].data_ptr<int64_t>());
  }

  // A piece is made of integers, so the sum with the other ranks' zeros gives it to all.
  comm.all_reduce(states, ReduceOp::kSum);
  std::vector<RankingPiece> pieces;
  for (size_t r = 0; r < rounds.size(); ++r)
    pieces.push_back(RankingPiece::read(
        states.const_data_ptr<int64_t>() + static_cast<int64_t>(r) * words, request));
  return metrics::ranking_values(pieces, total, request);
}

}  // namespace dissent
