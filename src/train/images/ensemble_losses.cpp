#include "train/images/ensemble_losses.hpp"

#include <algorithm>
#include <cstdint>

#include "ensemble/exchange.hpp"

namespace dissent {
namespace {

using losses::LossInput;

// One output of all networks of this rank as a leaf [members, ...]; undefined where no network has
// it.
template <class OutputOf>
at::Tensor leaf(const std::vector<NetworkState>& states, const OutputOf& output_of) {
  std::vector<at::Tensor> outputs;
  for (const auto& state : states)
    if (const at::Tensor output = output_of(state); output.defined())
      outputs.push_back(output.detach());
  return outputs.empty() ? at::Tensor() : at::cat(outputs).contiguous().requires_grad_();
}

// What members exchange, cut from the networks' graphs: the derivative stops at these leaves, and
// NetworkPasses continues it network by network.
ExchangedOutputs output_leaves(const ImageMembers& members, const ActiveTerms& terms,
                               const std::vector<NetworkState>& states) {
  ExchangedOutputs leaves;
  leaves.logits = leaf(states, [](const NetworkState& state) { return state.logits; });
  if (terms.reads_features)
    leaves.features = leaf(states, [&](const NetworkState& state) {
      return state.output.features.unsqueeze(0).expand({members.members_each(), -1, -1});
    });
  leaves.saliency = leaf(states, [](const NetworkState& state) { return state.saliency; });
  leaves.input_gradients =
      leaf(states, [](const NetworkState& state) { return state.input_gradients; });
  return leaves;
}

// The discriminator learns on the features of all members and rows, the same on every rank.
void train_discriminator(const at::Tensor& features, const BatchContext& batch,
                         const EnsembleSplit& ranks, Discriminator& discriminator) {
  // All ranks gather the same [M, B, D] and labels [1, B], so their copies of the discriminator
  // stay equal without a further exchange.
  const auto whole = gather_fields(
      ranks, "discriminator",
      {{"features", features.detach(), batch.common.total},
       {"labels", batch.common_labels.unsqueeze(0), batch.common.total, SplitField::Of::kBatch}});
  discriminator.accumulate(whole[0], whole[1].squeeze(0), batch.share);
}

// A loss between members, without its weight. Maps and input gradients were computed network by
// network; every other loss reads fields.
at::Tensor term_value(const ActiveTerm& active, const LossInput& fields,
                      const ExchangedOutputs& leaves, const EnsembleSplit& ranks) {
  const auto& term = *active.term;
  switch (active.compares) {
    case Compared::kOutputs: return split_loss(term.name, fields, term.options, ranks);
    case Compared::kSaliencyMaps:
      return split_map_loss(term.name, leaves.saliency, term.options, ranks);
    case Compared::kInputGradients:
      return split_map_loss(term.name, leaves.input_gradients, term.options, ranks);
  }
  return {};
}

ExchangedOutputs differentiate(const at::Tensor& total, const ExchangedOutputs& leaves) {
  ExchangedOutputs gradients;
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor*> targets;

  const auto add = [&](const at::Tensor& input, at::Tensor& target) {
    if (!input.defined()) return;
    inputs.push_back(input);
    targets.push_back(&target);
  };
  add(leaves.logits, gradients.logits);
  add(leaves.features, gradients.features);
  add(leaves.saliency, gradients.saliency);
  add(leaves.input_gradients, gradients.input_gradients);

  // A loss may read only some of the outputs: the derivative of the others stays undefined.
  const auto derivatives =
      torch::autograd::grad({total}, inputs, {}, {}, false, /*allow_unused=*/true);
  for (size_t i = 0; i < targets.size(); ++i) *targets[i] = derivatives[i];
  return gradients;
}

}  // namespace

at::Tensor common_labels(const ImageRows& rows, const std::vector<NetworkState>& states,
                         const EnsembleSplit& ranks) {
  if (rows.labels.defined()) return rows.labels;

  // Labels that the ensemble predicts need the logits of all members, also of those on other ranks.
  std::vector<at::Tensor> logits;
  for (const auto& state : states) logits.push_back(state.logits.detach());
  const auto local = at::cat(logits).contiguous();
  return losses::predicted_labels(all_members(ranks.members, local, ranks.total, "logits"));
}

EnsembleLossValues ensemble_losses(const ImageMembers& members, const ImageObjective& objective,
                                   const BatchContext& batch,
                                   const std::vector<NetworkState>& states,
                                   const EnsembleSplit& ranks, double loss_scale,
                                   Discriminator* discriminator) {
  const auto leaves = output_leaves(members, batch.terms, states);

  LossInput fields;
  fields.logits = fields.unlabelled_logits = leaves.logits;
  fields.labels = batch.common_labels;
  fields.features = leaves.features;
  fields.drawn_member = batch.input.drawn_member;
  if (discriminator) fields.discriminator = discriminator->parameters();

  EnsembleLossValues result;
  result.values.assign(objective.terms.size(), 0);
  at::Tensor total;
  for (const auto& active : batch.terms.ensemble) {
    // A term of weight 0 is reported only, and needs no graph.
    const at::AutoGradMode graph(active.weight > 0);
    const auto value = term_value(active, fields, leaves, ranks);
    result.values[active.index] = value.item<double>();

    if (active.trains_discriminator)
      train_discriminator(leaves.features, batch, ranks, *discriminator);

    if (active.weight == 0) continue;
    const auto weighted = value * (active.weight * batch.share * loss_scale);
    total = total.defined() ? total + weighted : weighted;
  }

  if (total.defined() && total.requires_grad()) result.gradients = differentiate(total, leaves);
  return result;
}

}  // namespace dissent
