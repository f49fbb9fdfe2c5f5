#include "train/heads/logit_exchange.hpp"

#include <algorithm>
#include <cstdint>

namespace dissent {
namespace {

bool within(Part part, int64_t member) {
  return member >= part.first && member < part.first + part.count;
}

// The members and the part of the batch that a rank holds. The ranks of a member group are
// consecutive.
struct RankShare {
  Part members;
  int64_t data_part;
};

RankShare share_of(int64_t rank, const GridShape& shape, int64_t members) {
  return {part_of(members, shape.members, rank / shape.data), rank % shape.data};
}

// Number of values in the message of each rank: its logits, and behind them its request.
std::vector<int64_t> message_sizes(const GridShape& shape, int64_t members,
                                   const std::vector<StepInput>& wave, int64_t classes) {
  std::vector<int64_t> sizes;
  for (int64_t rank = 0; rank < shape.members * shape.data; ++rank) {
    const RankShare share = share_of(rank, shape, members);
    int64_t logits = 0;
    for (const auto& input : wave)
      for (const int64_t member : input.step->active)
        if (within(share.members, member))
          logits += batch_part(*input.step, shape.data, share.data_part).rows() * classes;
    sizes.push_back(logits + 1);
  }
  return sizes;
}

// This rank's message: the pieces [b + u, C], step by step and member by member, then its request.
at::Tensor make_message(const std::vector<at::Tensor>& pieces, Request request,
                        const at::TensorOptions& options) {
  std::vector<at::Tensor> message;
  for (const auto& piece : pieces) message.push_back(piece.reshape({-1}));
  message.push_back(at::full({1}, static_cast<int64_t>(request), options));
  return at::cat(message);
}

// Position of each rank's message among all of them.
std::vector<int64_t> first_positions(const std::vector<int64_t>& sizes) {
  std::vector<int64_t> first(sizes.size(), 0);
  for (size_t rank = 1; rank < sizes.size(); ++rank)
    first[rank] = first[rank - 1] + sizes[rank - 1];
  return first;
}

// The most urgent request of all ranks: the same on each of them.
Request largest_request(const at::Tensor& all, const std::vector<int64_t>& sizes) {
  // The request is the last value of each message.
  auto positions = first_positions(sizes);
  for (size_t rank = 0; rank < sizes.size(); ++rank) positions[rank] += sizes[rank] - 1;

  const auto index = at::tensor(positions, at::kLong).to(all.device());
  return static_cast<Request>(all.index_select(0, index).max().item<int64_t>());
}

// Puts a piece [b + u, C] of one member and data part at its rows of the whole [B + U, C].
void place_piece(const at::Tensor& piece, const BatchPart& rows, int64_t labelled,
                 const at::Tensor& whole) {
  whole.narrow(0, rows.labelled.first, rows.labelled.count)
      .copy_(piece.narrow(0, 0, rows.labelled.count));
  whole.narrow(0, labelled + rows.unlabelled.first, rows.unlabelled.count)
      .copy_(piece.narrow(0, rows.labelled.count, rows.unlabelled.count));
}

// The messages of all ranks as [A, B + U, C] for each step that this rank takes part in.
std::vector<at::Tensor> unpack_logits(const at::Tensor& all, const std::vector<int64_t>& sizes,
                                      const GridShape& shape, const HeadMembers& members,
                                      const std::vector<StepInput>& wave, int64_t classes) {
  std::vector<at::Tensor> logits(wave.size());
  std::vector<int64_t> positions = first_positions(sizes);  // next piece of each rank
  for (size_t s = 0; s < wave.size(); ++s) {
    const Step& step = *wave[s].step;
    const auto labelled = static_cast<int64_t>(step.rows.size()),
               unlabelled = static_cast<int64_t>(step.unlabelled_rows.size());
    const bool takes_part = holds_any(members, step);
    if (takes_part)
      logits[s] =
          at::empty({static_cast<int64_t>(step.active.size()), labelled + unlabelled, classes},
                    all.options());

    // Pieces of steps without a local member are skipped.
    for (size_t rank = 0; rank < sizes.size(); ++rank) {
      const RankShare share = share_of(static_cast<int64_t>(rank), shape, members.total);
      const BatchPart rows = batch_part(step, shape.data, share.data_part);
      const int64_t size = rows.rows() * classes;
      for (size_t a = 0; a < step.active.size(); ++a) {
        if (!within(share.members, step.active[a])) continue;
        if (takes_part)
          place_piece(all.narrow(0, positions[rank], size).view({rows.rows(), classes}), rows,
                      labelled, logits[s][static_cast<int64_t>(a)]);
        positions[rank] += size;
      }
    }
  }
  return logits;
}

}  // namespace

BatchPart batch_part(const Step& step, int64_t parts, int64_t index) {
  return {part_of(static_cast<int64_t>(step.rows.size()), parts, index),
          part_of(static_cast<int64_t>(step.unlabelled_rows.size()), parts, index)};
}

at::Tensor part_rows(const at::Tensor& whole, const BatchPart& part, int64_t labelled,
                     int64_t dim) {
  const auto rows = whole.narrow(dim, part.labelled.first, part.labelled.count);
  if (whole.size(dim) == labelled) return rows.contiguous();
  return at::cat({rows, whole.narrow(dim, labelled + part.unlabelled.first, part.unlabelled.count)},
                 dim);
}

std::vector<LocalPair> local_pairs(const std::vector<StepInput>& wave, const HeadMembers& members) {
  std::vector<LocalPair> pairs;
  for (size_t s = 0; s < wave.size(); ++s)
    for (size_t a = 0; a < wave[s].step->active.size(); ++a)
      if (const int64_t member = wave[s].step->active[a]; members.holds(member))
        pairs.push_back({static_cast<int64_t>(s), static_cast<int64_t>(a), member});
  return pairs;
}

bool holds_any(const HeadMembers& members, const Step& step) {
  return std::any_of(step.active.begin(), step.active.end(),
                     [&](int64_t member) { return members.holds(member); });
}

WaveLogits gather_logits(Communicator& run, const GridShape& shape, const HeadMembers& members,
                         const std::vector<StepInput>& wave, const std::vector<at::Tensor>& pieces,
                         Request request) {
  const int64_t classes = members.head->classes();

  // Each rank knows the plan, and so the size of every message: one gather is enough.
  const auto sizes = message_sizes(shape, members.total, wave, classes);
  const auto all = run.all_gather(make_message(pieces, request, members.values.options()), sizes);
  return {unpack_logits(all, sizes, shape, members, wave, classes), largest_request(all, sizes)};
}

std::vector<double> sum_over_members(Communicator& run, const GridShape& shape, int64_t data_part,
                                     const HeadMembers& members, const std::vector<StepInput>& wave,
                                     const at::Tensor& values) {
  // The data ranks of a member group hold the same values: the first of them sends.
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < run.size(); ++rank) {
    const RankShare share = share_of(rank, shape, members.total);
    int64_t count = 0;
    if (share.data_part == 0)
      for (const auto& input : wave)
        count += std::count_if(input.step->active.begin(), input.step->active.end(),
                               [&](int64_t member) { return within(share.members, member); });
    counts.push_back(count);
  }

  const auto all = run.all_gather(data_part == 0 ? values : values.narrow(0, 0, 0), counts).cpu();

  // Active members are ascending and so are member groups: each sum is added in member order, and
  // its bits do not depend on the split.
  const auto* value = all.const_data_ptr<double>();
  std::vector<double> sums(wave.size(), 0);
  for (int64_t group = 0; group < shape.members; ++group) {
    const Part local = part_of(members.total, shape.members, group);
    for (size_t s = 0; s < wave.size(); ++s)
      for (const int64_t member : wave[s].step->active)
        if (within(local, member)) sums[s] += *value++;
  }
  return sums;
}

}  // namespace dissent
