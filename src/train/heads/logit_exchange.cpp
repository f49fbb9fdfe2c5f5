#include "train/heads/logit_exchange.hpp"

#include <algorithm>

namespace dissent {
namespace {

bool within(Part part, int64_t member) {
  return member >= part.first && member < part.first + part.count;
}

}  // namespace

BatchPart batch_part(const Step& step, int64_t parts, int64_t index) {
  return {part_of(static_cast<int64_t>(step.rows.size()), parts, index),
          part_of(static_cast<int64_t>(step.unlabelled_rows.size()), parts, index)};
}

std::vector<LocalPair> local_pairs(const std::vector<StepInput>& wave, const MemberStack& members) {
  std::vector<LocalPair> pairs;
  for (size_t s = 0; s < wave.size(); ++s)
    for (size_t a = 0; a < wave[s].step->active.size(); ++a)
      if (const int64_t member = wave[s].step->active[a]; members.holds(member))
        pairs.push_back({static_cast<int64_t>(s), static_cast<int64_t>(a), member});
  return pairs;
}

bool holds_any(const MemberStack& members, const Step& step) {
  return std::any_of(step.active.begin(), step.active.end(),
                     [&](int64_t member) { return members.holds(member); });
}

WaveLogits gather_logits(Communicator& run, const GridShape& shape, const MemberStack& members,
                         const std::vector<StepInput>& wave, const std::vector<at::Tensor>& pieces,
                         Request request) {
  // Every rank sends, step by step and member by member, its [b + u, C] pieces in one message, and
  // its request as one number behind them.
  const auto classes = members.head->layout()
                           .entries()
                           .back()
                           .numel;  // the classifier's bias comes last in every head
  std::vector<int64_t> counts;
  for (int64_t g = 0; g < shape.members; ++g)
    for (int64_t d = 0; d < shape.data; ++d) {
      const Part group = part_of(members.total, shape.members, g);
      int64_t count = 0;
      for (const auto& input : wave)
        for (const int64_t member : input.step->active)
          if (within(group, member))
            count += batch_part(*input.step, shape.data, d).rows() * classes;
      counts.push_back(count + 1);
    }
  std::vector<at::Tensor> message;
  for (const auto& piece : pieces) message.push_back(piece.reshape({-1}));
  message.push_back(at::full({1}, static_cast<int64_t>(request), members.values.options()));
  const auto all = run.all_gather(at::cat(message), counts);

  // Back into [A, B + U, C] for the steps that this rank takes part in.
  WaveLogits logits{std::vector<at::Tensor>(wave.size()), Request::kNone};
  std::vector<int64_t> offsets(counts.size(), 0), request_places;
  for (size_t r = 1; r < counts.size(); ++r) offsets[r] = offsets[r - 1] + counts[r - 1];
  for (size_t r = 0; r < counts.size(); ++r) request_places.push_back(offsets[r] + counts[r] - 1);
  const auto places = at::tensor(request_places, at::kLong).to(all.device());
  logits.agreed = static_cast<Request>(all.index_select(0, places).max().item<int64_t>());
  for (size_t s = 0; s < wave.size(); ++s) {
    const Step& step = *wave[s].step;
    const auto labelled = static_cast<int64_t>(step.rows.size()),
               unlabelled = static_cast<int64_t>(step.unlabelled_rows.size());
    const bool wanted = holds_any(members, step);
    auto& whole = logits.of_step[s];
    if (wanted)
      whole = at::empty({static_cast<int64_t>(step.active.size()), labelled + unlabelled, classes},
                        all.options());
    for (size_t r = 0; r < counts.size(); ++r) {
      const Part group =
          part_of(members.total, shape.members, static_cast<int64_t>(r) / shape.data);
      const BatchPart rows = batch_part(step, shape.data, static_cast<int64_t>(r) % shape.data);
      for (size_t a = 0; a < step.active.size(); ++a) {
        if (!within(group, step.active[a])) continue;
        if (wanted) {
          const auto piece =
              all.narrow(0, offsets[r], rows.rows() * classes).view({rows.rows(), classes});
          whole[a]
              .narrow(0, rows.labelled.first, rows.labelled.count)
              .copy_(piece.narrow(0, 0, rows.labelled.count));
          whole[a]
              .narrow(0, labelled + rows.unlabelled.first, rows.unlabelled.count)
              .copy_(piece.narrow(0, rows.labelled.count, rows.unlabelled.count));
        }
        offsets[r] += rows.rows() * classes;
      }
    }
  }
  return logits;
}

std::vector<double> sum_over_members(Communicator& run, const GridShape& shape, int64_t data_part,
                                     const MemberStack& members, const std::vector<StepInput>& wave,
                                     const at::Tensor& values) {
  std::vector<int64_t> counts;
  for (int64_t r = 0; r < run.size(); ++r) {
    const Part group = part_of(members.total, shape.members, r / shape.data);
    int64_t count = 0;
    if (r % shape.data == 0)
      for (const auto& input : wave)
        count += std::count_if(input.step->active.begin(), input.step->active.end(),
                               [&](int64_t m) { return within(group, m); });
    counts.push_back(count);
  }
  const auto all = run.all_gather(data_part == 0 ? values : values.narrow(0, 0, 0), counts).cpu();
  const auto* value = all.const_data_ptr<double>();
  std::vector<double> sums(wave.size(), 0);
  for (int64_t g = 0, at = 0; g < shape.members; ++g)
    for (size_t s = 0; s < wave.size(); ++s)
      for (const int64_t member : wave[s].step->active)
        if (within(part_of(members.total, shape.members, g), member)) sums[s] += value[at++];
  return sums;
}

}  // namespace dissent
