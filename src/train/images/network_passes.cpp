#include "train/images/network_passes.hpp"

#include <ATen/SequenceNumber.h>
#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>

#include <algorithm>
#include <cstdint>

#include "models/networks/autocast.hpp"

namespace dissent {

using losses::LossInput;
using losses::MemberInputs;

NetworkState NetworkPasses::begin(int64_t network) const {
  NetworkState state;

  // Leaves of a new graph for each batch; they are views, so an update moves them without a copy.
  const auto flat = members_.values[network];
  for (const auto& entry : members_.network->layout().entries())
    state.parameters.push_back(parameter(flat, entry).detach().requires_grad_());
  state.base_values.assign(objective_.terms.size(), 0);
  return state;
}

// The training pass of a network on its own batch: outputs and weighted base losses.
struct NetworkPasses::TrainOutput {
  at::Tensor image, logits, loss;
  ImageOutput output;
};

// Autograd adds the gradients that meet at a node in the order of sequence numbers, which count per
// thread. Passes that extend one graph may run on different threads: each continues behind the
// numbers of the pass before, so that sums have the same order, and the same bits, on any of them.
// The other passes have graphs of their own, and may run at the same time as these.
void NetworkPasses::run_pass(PassKind pass, int64_t network, const BatchContext& batch,
                             NetworkState& state) const {
  const bool extends_common_graph =
      pass == PassKind::kSharedForward || pass == PassKind::kEvaluate || pass == PassKind::kMaps;
  if (!extends_common_graph) return compute(pass, network, batch, state);

  while (at::sequence_number::peek() < state.sequence) at::sequence_number::get_and_increment();
  compute(pass, network, batch, state);
  state.sequence = at::sequence_number::peek();
}

void NetworkPasses::compute(PassKind pass, int64_t network, const BatchContext& batch,
                            NetworkState& state) const {
  const bool moves_inputs = !batch.terms.moved_inputs.empty();
  switch (pass) {
    case PassKind::kTrain:
      return train_backward(train_forward(network, batch, moves_inputs, state).loss, batch, state);
    case PassKind::kTrainForward:
      state.pending_loss = train_forward(network, batch, moves_inputs, state).loss;
      return;
    case PassKind::kTrainBackward:
      train_backward(state.pending_loss, batch, state);
      state.pending_loss.reset();
      return;
    case PassKind::kSharedForward: {
      const auto out = train_forward(network, batch, /*needs_image_gradient=*/true, state);
      state.shared_loss = out.loss;
      state.x = out.image;
      state.output = out.output;
      state.logits = out.logits;
      return;
    }
    case PassKind::kEvaluate: return evaluate(network, batch, state);
    case PassKind::kMaps: return compute_maps(network, batch, state);
    case PassKind::kEnsembleBackward: return ensemble_backward(network, batch, state);
  }
}

ImageOutput NetworkPasses::forward(int64_t network, const std::vector<at::Tensor>& parameters,
                                   const at::Tensor& x, bool training) const {
  const Autocast half(members_.values.device().type(), options_.compute);
  return members_.network->forward(parameters, members_.buffers[network], x, training,
                                   training ? options_.batch_norm : nullptr);
}

const ImageRows& NetworkPasses::own_rows(int64_t network, const ImageStepInput& input) const {
  return input.own[objective_.same_batch || members_.multihead() ? 0 : network];
}

NetworkPasses::TrainOutput NetworkPasses::train_forward(int64_t network, const BatchContext& batch,
                                                        bool needs_image_gradient,
                                                        NetworkState& state) const {
  // Without rows there is nothing to compute, but where other ranks wait for this one's statistics.
  const auto& rows = own_rows(network, batch.input);
  if (rows.x.size(0) == 0 && !options_.batch_norm) return {};

  // [1, b, ...]: moved inputs have a dimension of members.
  auto x = rows.x.unsqueeze(0);
  if (needs_image_gradient) x = x.detach().requires_grad_();

  TrainOutput out;
  out.image = x[0];
  out.output = forward(network, state.parameters, out.image, /*training=*/true);
  out.logits = with_member_dimension(out.output.logits);
  out.loss = base_loss(network, batch, rows, x, out.logits, state);
  return out;
}

//   loss = (k / M) (b / B) sum over base losses of weight_t l_t(z)
// for a network of k of the M members, and b of the batch's B rows on this data rank: summed over
// networks and data ranks it is the mean over members and rows.
at::Tensor NetworkPasses::base_loss(int64_t network, const BatchContext& batch,
                                    const ImageRows& rows, const at::Tensor& x,
                                    const at::Tensor& logits, NetworkState& state) const {
  const int64_t local_rows = rows.labels.size(0);
  const double row_share = static_cast<double>(local_rows) / static_cast<double>(rows.total);
  const double member_share =
      static_cast<double>(members_.members_each()) / static_cast<double>(members_.total);

  // A loss of no rows is 0, with a graph through which this rank answers the others.
  const auto value_of = [&](const losses::LossTerm& term, const LossInput& read,
                            const at::Tensor& outputs) {
    return local_rows > 0 ? losses::evaluate(term.name, read, term.options) : outputs.sum();
  };

  at::Tensor total;
  const auto add = [&](const ActiveTerm& active, const at::Tensor& value) {
    state.base_values[active.index] = batch.share * row_share * value.item<double>();
    const auto weighted = value * (active.weight * member_share * row_share);
    total = total.defined() ? total + weighted : weighted;
  };

  for (const auto& active : batch.terms.base) {
    LossInput read;
    read.logits = logits;
    read.labels = rows.labels;
    add(active, value_of(*active.term, read, logits));
  }

  // Inputs move along the gradient of the losses so far, so these terms come last. The moved inputs
  // take a second forward pass.
  for (const auto& active : batch.terms.moved_inputs) {
    const auto& term = *active.term;
    DISSENT_CHECK(total.defined(), kUsage,
                  "loss.{}: expected another base loss whose gradient moves the inputs, found none",
                  term.name);
    at::Tensor overflow;
    const auto moved =
        losses::adversarial_inputs(total, x, options_of<losses::AdversarialOptions>(term).epsilon,
                                   scale_.value, scale_.active ? &overflow : nullptr);

    // In f16 a derivative may overflow. It makes the gradient NaN, so that the update skips the
    // step, while the images stay finite: running statistics could not be restored. Otherwise the
    // factor is 1.
    if (overflow.defined()) total = total * (overflow + 1);

    LossInput read;
    read.labels = rows.labels;
    read.adversarial_logits =
        with_member_dimension(forward(network, state.parameters, moved[0], true).logits);
    add(active, value_of(term, read, read.adversarial_logits));
  }
  return total;
}

void NetworkPasses::train_backward(const at::Tensor& loss, const BatchContext& batch,
                                   NetworkState& state) const {
  if (!loss.defined()) return;
  state.base_gradient =
      torch::autograd::grad({loss * (batch.share * scale_.value)}, state.parameters, {}, {}, false,
                            /*allow_unused=*/true);
}

void NetworkPasses::evaluate(int64_t network, const BatchContext& batch,
                             NetworkState& state) const {
  state.x = batch.common.x.detach().requires_grad_(batch.terms.reads_images);
  state.output = forward(network, state.parameters, state.x, /*training=*/false);
  state.logits = with_member_dimension(state.output.logits);
}

void NetworkPasses::compute_maps(int64_t network, const BatchContext& batch,
                                 NetworkState& state) const {
  // Members of a multihead network share images and feature maps: each derivative is of their own
  // logits with respect to the same tensor.
  const auto inputs_of = [&](const at::Tensor& source) {
    return members_.multihead() ? MemberInputs::shared(source) : MemberInputs::each({source});
  };
  for (const auto& active : batch.terms.ensemble) {
    const auto& term = *active.term;
    // A loss of weight 0 is reported only: its maps need no graph of second order.
    const bool learns = active.weight > 0;
    if (active.compares == Compared::kInputGradients) {
      state.input_gradients = losses::input_gradients(
          state.logits, batch.common_labels, inputs_of(state.x),
          options_of<losses::InputGradientOptions>(term), learns, scale_.of_outputs());
    } else if (active.compares == Compared::kSaliencyMaps) {
      const auto& options = options_of<losses::GradCamOptions>(term);
      at::Tensor noise;
      if (options.target == losses::GradCamTarget::kSmallLogits)
        noise = small_logits_noise(network, batch, state.logits);
      state.saliency =
          losses::saliency_maps(state.logits, batch.common_labels, inputs_of(state.output.maps),
                                options, noise, learns, scale_.of_outputs());
    }
  }
}

// Noise [k, b, C] of gradcam's target "small_logits". It is drawn for the whole batch, so that a
// row has the same noise on every grid.
at::Tensor NetworkPasses::small_logits_noise(int64_t network, const BatchContext& batch,
                                             const at::Tensor& logits) const {
  const int64_t rows = batch.common.total;
  const Part part = part_of(rows, grid_.shape.data, grid_.data_part);
  const auto like = logits.detach().select(1, 0).unsqueeze(1).expand({-1, rows, -1});
  return losses::logit_noise(like, batch.input.seed, batch.input.counter, members_.first + network)
      .narrow(1, part.first, part.count);
}

// The chain rule from the outputs that members exchange to the parameters:
//   dL/dw = sum over outputs o of (dL/do) (do/dw),
// with the base losses of a shared forward pass as one more output.
void NetworkPasses::ensemble_backward(int64_t network, const BatchContext& batch,
                                      NetworkState& state) const {
  const int64_t members_each = members_.members_each(), first = network * members_each;
  std::vector<at::Tensor> outputs, derivatives;
  const auto add = [&](const at::Tensor& output, const at::Tensor& derivative) {
    if (!output.defined() || !derivative.defined() || !output.requires_grad()) return;
    outputs.push_back(output);
    derivatives.push_back(derivative);
  };
  const auto own = [&](const at::Tensor& all) {
    return all.defined() ? all.narrow(0, first, members_each) : at::Tensor();
  };

  if (state.shared_loss.defined())
    add(state.shared_loss, at::full_like(state.shared_loss, batch.share * scale_.value));
  const auto& gradients = batch.gradients;
  add(state.logits, own(gradients.logits));
  // Members of a multihead network have their features in common.
  if (gradients.features.defined()) add(state.output.features, own(gradients.features).sum(0));
  add(state.saliency, own(gradients.saliency));
  add(state.input_gradients, own(gradients.input_gradients));

  if (outputs.empty()) return;
  state.ensemble_gradient = torch::autograd::grad(outputs, state.parameters, derivatives, {}, false,
                                                  /*allow_unused=*/true);
}

}  // namespace dissent
