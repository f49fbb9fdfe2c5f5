#include "ensemble/split_loss.hpp"

#include <dissent/error.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>
#include <dissent/losses/similarity.hpp>

#include <algorithm>

#include "comm/grid.hpp"
#include "ensemble/exchange.hpp"

namespace dissent {
namespace {

using losses::Field;
using losses::LossInput;

bool has(const std::vector<Field>& fields, Field field) {
  return std::find(fields.begin(), fields.end(), field) != fields.end();
}

// Where a loss reads this output of members [M, B, ..]; nullptr: the field is none.
at::Tensor LossInput::* place_of(Field field) {
  switch (field) {
    case Field::kLogits: return &LossInput::logits;
    case Field::kFeatures: return &LossInput::features;
    case Field::kUnlabelledLogits: return &LossInput::unlabelled_logits;
    case Field::kAdversarialLogits: return &LossInput::adversarial_logits;
    default: return nullptr;
  }
}

// An output that a loss reads, and whether ranks with other members send theirs.
struct Output {
  at::Tensor LossInput::* place;
  std::string name;
  int64_t rows;
  bool exchanged;
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

template <class O>
const O& options_of(const std::string& name, const std::any& options) {
  const auto* found = std::any_cast<O>(&options);
  DISSENT_CHECK(found, kInternal, "split_loss: {}: no code for the field that it exchanges", name);
  return *found;
}

SplitField split_field(std::string name, const at::Tensor& local, int64_t rows,
                       const EnsembleSplit& split) {
  return {.name = std::move(name),
          .local = local,
          .members = split.total,
          .rows = rows,
          .data = split.data.size()};
}

at::Tensor whole(const at::Tensor& local, int64_t rows, const EnsembleSplit& split) {
  return gather_rows(split.data, gather_members(split.members, local, split.total), rows);
}

// Likeness of saliency maps or input gradients: a derivative of each member's own network, then a
// function of all of them.
at::Tensor map_loss(const std::string& name, Field field, const LossInput& local,
                    const std::any& options, const EnsembleSplit& split) {
  const bool saliency = field == Field::kSaliencyMaps, graph = at::GradMode::is_enabled();
  at::Tensor maps;
  agree(split.run, [&] {
    const auto& source = saliency ? local.feature_maps : local.images;
    DISSENT_CHECK(source, kUsage, "{}: {}: expected it, found nothing", name,
                  losses::field_name(saliency ? Field::kFeatureMaps : Field::kImages));
    DISSENT_CHECK(split.rows >= split.data.size(), kUsage,
                  "{}: rows: expected at least one for each of {} data ranks, found {}", name,
                  split.data.size(), split.rows);
    maps = saliency ? losses::saliency_maps(local.logits, local.labels, *source,
                                            options_of<losses::GradCamOptions>(name, options),
                                            local.logit_noise, graph)
                    : losses::input_gradients(
                          local.logits, local.labels, *source,
                          options_of<losses::InputGradientOptions>(name, options), graph);
  });
  return split_map_loss(name, maps, options, split);
}

// Outputs and labels of the whole batch; outputs that are exchanged, of all members.
LossInput gathered(const std::string& name, const std::vector<Output>& outputs, bool labelled,
                   const LossInput& local, const EnsembleSplit& split) {
  LossInput input = local;
  const bool shared =
      local.labels.defined() && local.labels.dim() == 1;  // one batch for all members
  std::vector<SplitField> fields;
  for (const auto& output : outputs)
    fields.push_back(split_field(output.name, local.*output.place, output.rows, split));
  if (labelled) {
    if (shared) input.labels = local.labels.unsqueeze(0);
    fields.push_back(split_field("labels", input.labels, split.rows, split));
    if (shared) fields.back().members = -1;
  }
  check_fields(split.run, name, fields);
  for (const auto& output : outputs) {
    auto& tensor = input.*output.place;
    tensor = output.exchanged ? whole(tensor, output.rows, split)
                              : gather_rows(split.data, tensor, output.rows);
  }
  if (labelled) input.labels = gather_rows(split.data, input.labels, split.rows);
  if (labelled && shared) input.labels = input.labels.squeeze(0);
  return input;
}

// A member of this rank: its part of what was not exchanged.
LossInput of_member(const std::vector<Output>& outputs, const LossInput& input, int64_t member) {
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
  const bool saliency = name == "gradcam";
  DISSENT_CHECK(saliency || name == "input_gradient", kInternal,
                "split_map_loss: {} is no loss of maps", name);
  check_fields(
      split.run, name,
      {split_field(losses::field_name(saliency ? Field::kSaliencyMaps : Field::kInputGradients),
                   local, split.rows, split)});
  const auto maps = whole(local, split.rows, split);
  return saliency ? losses::saliency_similarity(
                        maps, options_of<losses::GradCamOptions>(name, given).similarity)
                  : losses::similarity(maps, losses::Similarity::kCosine);
}

at::Tensor split_loss(const std::string& name, const LossInput& local, const std::any& options,
                      const EnsembleSplit& split) {
  const auto& loss = losses::find_loss(name);
  const auto traits = losses::traits_of(loss, options);
  const auto& given = options.has_value() ? options : loss.default_options;
  const int64_t least = std::max<int64_t>(traits.min_members, split.members.size());
  DISSENT_CHECK(split.total >= least, kUsage,
                "{}: members: expected at least {} ({} ranks share them), found {}", name, least,
                split.members.size(), split.total);
  for (const auto field : {Field::kSaliencyMaps, Field::kInputGradients})
    if (has(traits.exchanged, field)) return map_loss(name, field, local, given, split);

  const auto outputs = outputs_of(traits, split);
  const auto input = gathered(name, outputs, has(traits.needs, Field::kLabels), local, split);
  const bool coupled = std::all_of(outputs.begin(), outputs.end(),
                                   [](const auto& output) { return output.exchanged; });
  at::Tensor value;
  agree(split.run, [&] {
    if (coupled) {
      value = losses::evaluate(name, input, given);
      return;
    }
    std::vector<at::Tensor> values;
    for (int64_t m = 0; m < part_of(split.total, split.members.size(), split.members.rank()).count;
         ++m)
      values.push_back(losses::evaluate(name, of_member(outputs, input, m), given));
    value = at::stack(values);
  });
  return coupled ? value : gather_members(split.members, value, split.total).mean();
}

}  // namespace dissent
