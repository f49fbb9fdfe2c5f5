#include "ensemble/split_loss.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/exchange.hpp"

namespace dissent {
namespace {

using losses::Field;
using losses::LossInput;

// The member of LossInput that holds this output of members, [M, B, ..]; nullptr: the field is not
// an output.
at::Tensor LossInput::* place_of(Field field) {
  switch (field) {
    case Field::kLogits: return &LossInput::logits;
    case Field::kFeatures: return &LossInput::features;
    case Field::kUnlabelledLogits: return &LossInput::unlabelled_logits;
    case Field::kAdversarialLogits: return &LossInput::adversarial_logits;
    default: return nullptr;
  }
}

// An output of members that a loss reads.
struct Output {
  at::Tensor LossInput::* place;
  std::string name;
  int64_t rows;
  bool exchanged;  // over ranks with different members
};

std::vector<Output> outputs_of(const losses::LossTraits& traits, const EnsembleSplit& split) {
  std::vector<Output> outputs;
  for (const auto field : traits.needs)
    if (const auto place = place_of(field))
      outputs.push_back({place, losses::field_name(field),
                         field == Field::kUnlabelledLogits ? split.unlabelled_rows : split.rows,
                         traits.exchanges(field)});
  return outputs;
}

// The input of the loss on the whole batch: outputs and labels of all rows; outputs that are
// exchanged also of all members.
LossInput gathered_input(const std::string& name, const std::vector<Output>& outputs, bool labelled,
                         const LossInput& local, const EnsembleSplit& split) {
  using Of = SplitField::Of;
  std::vector<SplitField> fields;
  for (const auto& [place, output, rows, exchanged] : outputs)
    fields.push_back({output, local.*place, rows, exchanged ? Of::kAllMembers : Of::kEachMember});

  // Labels [b] of a batch that all members have are a field with one row of them.
  const bool common_batch = local.labels.defined() && local.labels.dim() == 1;
  if (labelled)
    fields.push_back({"labels", common_batch ? local.labels.unsqueeze(0) : local.labels, split.rows,
                      common_batch ? Of::kBatch : Of::kEachMember});

  const auto whole = gather_fields(split, name, fields);

  LossInput input = local;
  for (size_t i = 0; i < outputs.size(); ++i) input.*outputs[i].place = whole[i];
  if (labelled) input.labels = common_batch ? whole.back().squeeze(0) : whole.back();
  return input;
}

// The input of one member of this rank: its own part of every output that was not exchanged.
LossInput input_of_member(const std::vector<Output>& outputs, const LossInput& input,
                          int64_t member) {
  LossInput one = input;
  for (const auto& output : outputs)
    if (!output.exchanged) one.*output.place = (input.*output.place).narrow(0, member, 1);
  if (input.labels.defined() && input.labels.dim() == 2)
    one.labels = input.labels.narrow(0, member, 1);
  return one;
}

// The derivative (saliency maps, input gradients) of each member of this rank by its own network.
// Only these are sent, not what they are computed from.
at::Tensor local_maps(const losses::LossInfo& loss, const LossInput& local, const std::any& options,
                      const EnsembleSplit& split) {
  at::Tensor maps;
  agree(split.run, [&] {
    losses::check_needs(loss, local, options);
    DISSENT_CHECK(split.rows >= split.data.size(), kUsage,
                  "{}: rows: expected at least one for each of {} data ranks, found {}", loss.name,
                  split.data.size(), split.rows);

    maps = loss.member_maps(local, options, at::GradMode::is_enabled());
  });
  return maps;
}

}  // namespace

at::Tensor split_map_loss(const std::string& name, const at::Tensor& local, const std::any& options,
                          const EnsembleSplit& split) {
  const auto& loss = losses::find_loss(name);
  const auto& given = options.has_value() ? options : loss.default_options;
  DISSENT_CHECK(loss.compare_maps, kInternal,
                "split_map_loss: expected a loss that compares maps, found {}", name);

  // Every rank compares the maps of all members; only its own carry a graph.
  const auto field = losses::traits_of(loss, options).exchanged.at(0);
  const auto maps =
      gather_fields(split, name, {{losses::field_name(field), local, split.rows}}).front();
  return loss.compare_maps(maps, given);
}

at::Tensor split_loss(const std::string& name, const LossInput& local, const std::any& options,
                      const EnsembleSplit& split) {
  const auto& loss = losses::find_loss(name);
  const auto traits = losses::traits_of(loss, options);
  const auto& given = options.has_value() ? options : loss.default_options;

  // A rank without a member would have nothing to send, and no part of the derivative.
  const int64_t least = std::max<int64_t>(traits.min_members, split.members.size());
  DISSENT_CHECK(split.total >= least, kUsage,
                "{}: members: expected at least {} ({} ranks share them), found {}", name, least,
                split.members.size(), split.total);
  if (loss.member_maps)
    return split_map_loss(name, local_maps(loss, local, given, split), given, split);

  const auto outputs = outputs_of(traits, split);
  const auto input = gathered_input(name, outputs, traits.reads(Field::kLabels), local, split);

  // If all outputs are exchanged, every rank computes the loss of the whole ensemble. Otherwise the
  // loss is a mean over members: every rank computes the values of its own members, and the M
  // values are gathered in member order, so that the mean has the same bits on every split.
  const bool coupled = std::all_of(outputs.begin(), outputs.end(),
                                   [](const auto& output) { return output.exchanged; });
  at::Tensor value;
  agree(split.run, [&] {
    // An error on one rank becomes an error of all: they meet in the gather below.
    if (coupled) {
      value = losses::evaluate(name, input, given);
      return;
    }

    const auto own = part_of(split.total, split.members.size(), split.members.rank());
    std::vector<at::Tensor> values;
    for (int64_t m = 0; m < own.count; ++m)
      values.push_back(losses::evaluate(name, input_of_member(outputs, input, m), given));
    value = at::stack(values);
  });
  return coupled ? value : gather_members(split.members, value, split.total).mean();
}

}  // namespace dissent
