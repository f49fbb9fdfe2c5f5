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

bool has(const std::vector<Field>& fields, Field field) {
  return std::find(fields.begin(), fields.end(), field) != fields.end();
}

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
                         has(traits.exchanged, field)});
  return outputs;
}

SplitField split_field(std::string name, const at::Tensor& local, int64_t rows,
                       const EnsembleSplit& split) {
  return {.name = std::move(name),
          .local = local,
          .members = split.total,
          .rows = rows,
          .data = split.data.size()};
}

at::Tensor gather_all(const at::Tensor& local, int64_t rows, const EnsembleSplit& split) {
  return gather_rows(split.data, gather_members(split.members, local, split.total), rows);
}

// A loss that compares a derivative of each member's own network (saliency maps, input gradients).
// Each rank differentiates its own members; only the derivatives are sent.
at::Tensor map_loss(const losses::LossInfo& loss, const LossInput& local, const std::any& options,
                    const EnsembleSplit& split) {
  at::Tensor maps;
  agree(split.run, [&] {
    losses::check_needs(loss, local, options);
    DISSENT_CHECK(split.rows >= split.data.size(), kUsage,
                  "{}: rows: expected at least one for each of {} data ranks, found {}", loss.name,
                  split.data.size(), split.rows);

    maps = loss.member_maps(local, options, at::GradMode::is_enabled());
  });
  return split_map_loss(loss.name, maps, options, split);
}

// The input of the loss on the whole batch: outputs and labels of all rows; outputs that are
// exchanged also of all members.
LossInput gathered_input(const std::string& name, const std::vector<Output>& outputs, bool labelled,
                         const LossInput& local, const EnsembleSplit& split) {
  LossInput input = local;
  const bool common_batch = local.labels.defined() && local.labels.dim() == 1;

  // All ranks compare shapes before anything is sent, so that a mistake of one rank becomes an
  // error of all. Labels of a common batch are checked like the output of one member.
  std::vector<SplitField> fields;
  for (const auto& output : outputs)
    fields.push_back(split_field(output.name, local.*output.place, output.rows, split));
  if (labelled) {
    if (common_batch) input.labels = local.labels.unsqueeze(0);
    fields.push_back(split_field("labels", input.labels, split.rows, split));
    if (common_batch) fields.back().members = -1;
  }
  check_fields(split.run, name, fields);

  for (const auto& output : outputs) {
    auto& tensor = input.*output.place;
    tensor = output.exchanged ? gather_all(tensor, output.rows, split)
                              : gather_rows(split.data, tensor, output.rows);
  }

  if (labelled) input.labels = gather_rows(split.data, input.labels, split.rows);
  if (labelled && common_batch) input.labels = input.labels.squeeze(0);
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

}  // namespace

at::Tensor split_map_loss(const std::string& name, const at::Tensor& local, const std::any& options,
                          const EnsembleSplit& split) {
  const auto& loss = losses::find_loss(name);
  const auto& given = options.has_value() ? options : loss.default_options;
  DISSENT_CHECK(loss.compare_maps, kInternal,
                "split_map_loss: expected a loss that compares maps, found {}", name);

  check_fields(split.run, name,
               {split_field(losses::field_name(losses::traits_of(loss, options).exchanged.at(0)),
                            local, split.rows, split)});

  // Every rank compares the maps of all members; only its own carry a graph.
  return loss.compare_maps(gather_all(local, split.rows, split), given);
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
  if (loss.member_maps) return map_loss(loss, local, given, split);

  const auto outputs = outputs_of(traits, split);
  const auto input = gathered_input(name, outputs, has(traits.needs, Field::kLabels), local, split);

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
