#include "train/images/image_stepper.hpp"

#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>

#include <cmath>
#include <utility>

#include "comm/device.hpp"
#include "core/parallel.hpp"
#include "ensemble/exchange.hpp"
#include "models/networks/autocast.hpp"

namespace dissent {
namespace {

using losses::Field;
using losses::LossInput;
using losses::LossKind;
using losses::LossTerm;
using losses::MemberInputs;

bool has(const std::vector<Field>& fields, Field field) {
  return std::find(fields.begin(), fields.end(), field) != fields.end();
}
losses::LossTraits traits_of(const LossTerm& term) {
  return losses::traits_of(losses::find_loss(term.name), term.options);
}

template <class O>
const O& options_of(const LossTerm& term) {
  const auto* own = std::any_cast<O>(
      term.options.has_value() ? &term.options : &losses::find_loss(term.name).default_options);
  DISSENT_CHECK(own, kInternal, "{}: options of another loss", term.name);
  return *own;
}

at::Tensor by_member(const at::Tensor& logits) {
  return logits.dim() == 3 ? logits : logits.unsqueeze(0);
}

}  // namespace

// What one network has computed of a batch, with its graph.
struct ImageStepper::Graph {
  std::vector<at::Tensor> parameters;
  at::Tensor base;      // weighted base losses, kept for the backward pass of all
  at::Tensor own_loss;  // the same, of a network whose own backward pass comes later
  std::vector<at::Tensor> base_gradient;  // where they are done with
  std::vector<at::Tensor> gradient;       // of the rest
  at::Tensor x;                           // images that the others saw
  ImageOutput output;                     // on them
  at::Tensor logits;                      // [k, b, C]
  at::Tensor saliency;                    // [k, b, h, w]
  at::Tensor input_gradients;             // [k, b, D]
};

// Derivatives of the objective with respect to what members tell each other, [this rank's members,
// ...] each; undefined where there is none.
struct ImageStepper::Pull {
  at::Tensor logits, features, saliency, input_gradients;
};

std::optional<std::string> impossible_on_images(const LossTerm& term,
                                                const ImageObjective& objective) {
  const auto traits = traits_of(term);
  if (term.name == "kl_backward")
    return "needs a labelled batch that all members see beside the unlabelled one, which training "
           "on images does not have";
  if (is_base(term) && !traits.exchanged.empty())
    return "couples members on their own batches: this output is for cached features";
  if (term.name == "oe" && !objective.unlabelled)
    return "reads outliers: expected a table [unlabelled], found none";
  return {};
}

ImageStepper::ImageStepper(ImageMembers& members, const ImageObjective& objective,
                           const ImageStepOptions& options, Grid& grid,
                           Discriminator* discriminator)
    : members_(members),
      objective_(objective),
      options_(options),
      grid_(grid),
      discriminator_(discriminator) {
  for (const auto& term : objective_.terms) {
    column_.push_back(columns_);
    columns_ += is_base(term) ? members_.total_networks() : 1;
  }
  gradients_ = at::zeros_like(members_.values);
  if (options_.compute == at::kHalf) scale_.start();
  if (!members_.values.is_cpu()) {
    if (grid.shape.members > 1)
      device_members_ = make_device_communicator(*grid.members, members_.values.device());
    if (grid.shape.data > 1)
      device_data_ = make_device_communicator(*grid.data, members_.values.device());
  }
  const bool shared =
      options_.synchronised_batch_norm && grid.shape.data > 1 && members_.buffers.size(1) > 0;
  if (shared) batch_norm_ = device_data_ ? device_data_.get() : grid.data.get();
}

ImageStepper::~ImageStepper() = default;

EnsembleSplit ImageStepper::split(int64_t rows) {
  return {.run = *grid_.run,
          .members = device_members_ ? *device_members_ : *grid_.members,
          .data = device_data_ ? *device_data_ : *grid_.data,
          .total = members_.total,
          .rows = rows,
          .unlabelled_rows = rows};
}

// On in this step, whatever its weight: a ramp that starts at 0 is on.
bool ImageStepper::is_on(const LossTerm& term, const ImageStepInput& input) const {
  auto unit = term.weight;
  unit.weight = 1;
  unit.ramp_epochs = 0;
  return losses::weight_at(unit, input.epoch, input.batch) > 0;
}

bool ImageStepper::reads_diversity_batch(const ImageStepInput& input) const {
  if (objective_.same_batch && !objective_.unlabelled) return false;
  return std::any_of(objective_.terms.begin(), objective_.terms.end(),
                     [&](const auto& term) { return !is_base(term) && is_on(term, input); });
}

std::vector<at::Tensor> ImageStepper::leaves(int64_t network) const {
  std::vector<at::Tensor> leaves;
  const auto flat = members_.values[network];
  for (const auto& entry : members_.network->layout().entries())
    leaves.push_back(parameter(flat, entry).detach().requires_grad_());
  return leaves;
}

ImageOutput ImageStepper::forward(int64_t network, const std::vector<at::Tensor>& parameters,
                                  const at::Tensor& x, bool training) const {
  const Autocast half(members_.values.device().type(), options_.compute);
  return members_.network->forward(parameters, members_.buffers[network], x, training,
                                   training ? batch_norm_ : nullptr);
}

// The weighted base losses of a network's members on its batch, as their part of the objective.
at::Tensor ImageStepper::base_loss(int64_t network, const ImageStepInput& input,
                                   const ImageRows& rows, const at::Tensor& x,
                                   const at::Tensor& logits, const Graph& graph, double* figures,
                                   double share) const {
  const double part = static_cast<double>(rows.labels.size(0)) / static_cast<double>(rows.total);
  const double of_members =
      static_cast<double>(members_.members_each()) / static_cast<double>(members_.total);
  // Of no rows: nothing, with a graph through which this rank answers the others.
  const auto value_of = [&](const losses::LossTerm& term, const LossInput& read,
                            const at::Tensor& outputs) {
    return rows.labels.size(0) > 0 ? losses::evaluate(term.name, read, term.options)
                                   : outputs.sum();
  };
  const auto note = [&](size_t t, const at::Tensor& value) {
    figures[column_[t] + members_.first + network] += share * part * value.item<double>();
  };
  at::Tensor total;
  const auto add = [&](size_t t, const at::Tensor& value) {
    note(t, value);
    const auto weighted =
        value * (losses::weight_at(objective_.terms[t].weight, input.epoch, input.batch) *
                 of_members * part);
    total = total.defined() ? total + weighted : weighted;
  };
  for (size_t t = 0; t < objective_.terms.size(); ++t) {
    const auto& term = objective_.terms[t];
    if (!is_base(term) || term.name == "adversarial_cross_entropy" || !is_on(term, input)) continue;
    LossInput read;
    read.logits = logits;
    read.labels = rows.labels;
    add(t, value_of(term, read, logits));
  }
  for (size_t t = 0; t < objective_.terms.size(); ++t) {
    const auto& term = objective_.terms[t];
    if (term.name != "adversarial_cross_entropy" || !is_on(term, input)) continue;
    DISSENT_CHECK(total.defined(), kUsage,
                  "loss.adversarial_cross_entropy: expected another base loss whose gradient moves "
                  "the inputs, found none");
    at::Tensor overflow;
    const auto moved =
        losses::adversarial_inputs(total, x, options_of<losses::AdversarialOptions>(term).epsilon,
                                   scale_.value, scale_.active ? &overflow : nullptr);
    // A derivative that is not finite makes the gradient NaN, so that update() passes over the
    // step; the images stay finite, as running statistics have no way back. Else the factor is 1.
    if (overflow.defined()) total = total * (overflow + 1);
    LossInput read;
    read.labels = rows.labels;
    read.adversarial_logits = by_member(forward(network, graph.parameters, moved[0], true).logits);
    add(t, value_of(term, read, read.adversarial_logits));
  }
  return total;
}

// The training pass of a network on its own batch. keep: its graph serves the others too, and its
// backward pass waits for them. later: its backward pass is left to base_backward.
void ImageStepper::base_pass(int64_t network, const ImageStepInput& input, Graph& graph, bool keep,
                             bool later, double* figures, double share) const {
  const auto& rows = input.own[objective_.same_batch || members_.multihead() ? 0 : network];
  if (rows.x.size(0) == 0 && !batch_norm_) return;
  const bool adversarial =
      std::any_of(objective_.terms.begin(), objective_.terms.end(),
                  [](const auto& term) { return term.name == "adversarial_cross_entropy"; });
  // [1, b, ...]: adversarial inputs have a dimension of members.
  auto x = rows.x.unsqueeze(0);
  if (adversarial || keep) x = x.detach().requires_grad_();
  const auto image = x[0];
  const auto output = forward(network, graph.parameters, image, true);
  const auto logits = by_member(output.logits);
  const auto loss = base_loss(network, input, rows, x, logits, graph, figures, share);
  if (!keep && later)
    graph.own_loss = loss;
  else if (!keep)
    base_backward(loss, graph, share);
  if (!keep) return;
  graph.base = loss;
  graph.x = image;
  graph.output = output;
  graph.logits = logits;
}

void ImageStepper::base_backward(const at::Tensor& loss, Graph& graph, double share) const {
  if (loss.defined())
    graph.base_gradient = torch::autograd::grad({loss * (share * scale_.value)}, graph.parameters,
                                                {}, {}, false, /*allow_unused=*/true);
  graph.own_loss.reset();
}

void ImageStepper::diversity_forward(int64_t network, const ImageStepInput& input,
                                     Graph& graph) const {
  graph.x = input.diversity.x.detach();
  for (const auto& term : objective_.terms)
    if (has(traits_of(term).needs, Field::kImages)) graph.x.requires_grad_();
  graph.output = forward(network, graph.parameters, graph.x, false);
  graph.logits = by_member(graph.output.logits);
}

// Saliency maps and input gradients: derivatives of this network alone.
void ImageStepper::compute_maps(int64_t network, const ImageStepInput& input,
                                const at::Tensor& labels, Graph& graph) const {
  for (const auto& term : objective_.terms) {
    const auto exchanged = traits_of(term).exchanged;
    const bool saliency = has(exchanged, Field::kSaliencyMaps),
               gradients = has(exchanged, Field::kInputGradients);
    if ((!saliency && !gradients) || !is_on(term, input)) continue;
    const auto& source = saliency ? graph.output.maps : graph.x;
    const auto read =
        members_.multihead() ? MemberInputs::shared(source) : MemberInputs::each({source});
    const bool learn = losses::weight_at(term.weight, input.epoch, input.batch) > 0;
    if (gradients) {
      graph.input_gradients = losses::input_gradients(
          graph.logits, labels, read, options_of<losses::InputGradientOptions>(term), learn,
          scale_.of_outputs());
      continue;
    }
    const auto& options = options_of<losses::GradCamOptions>(term);
    at::Tensor noise;
    if (options.target == losses::GradCamTarget::kSmallLogits) {
      const auto& rows =
          objective_.same_batch && !objective_.unlabelled ? input.own[0] : input.diversity;
      const Part part = part_of(rows.total, grid_.shape.data, grid_.data_part);
      const auto like =
          graph.logits.detach().select(1, 0).unsqueeze(1).expand({-1, rows.total, -1});
      noise = losses::logit_noise(like, input.seed, input.counter, members_.first + network)
                  .narrow(1, part.first, part.count);
    }
    graph.saliency = losses::saliency_maps(graph.logits, labels, read, options, noise, learn,
                                           scale_.of_outputs());
  }
}

// Labels of the batch that the others read: its own, or what the ensemble predicts.
at::Tensor ImageStepper::labels_of(const ImageRows& rows, const std::vector<Graph>& graphs) {
  if (rows.labels.defined()) return rows.labels;
  std::vector<at::Tensor> own;
  for (const auto& graph : graphs) own.push_back(graph.logits.detach());
  const auto local = at::cat(own).contiguous();
  return losses::predicted_labels(
      members_.multihead()
          ? local
          : all_members(split(rows.total).members, local, members_.total, "logits"));
}

// The losses that couple members, on what these tell each other, and their derivatives with respect
// to it: small tensors, computed by one thread.
ImageStepper::Pull ImageStepper::pull(const ImageStepInput& input, const std::vector<Graph>& graphs,
                                      const at::Tensor& labels, double* figures, double share) {
  const auto& rows =
      objective_.same_batch && !objective_.unlabelled ? input.own[0] : input.diversity;
  const auto leaf = [&](auto&& of_graph) {
    std::vector<at::Tensor> own;
    for (const auto& graph : graphs)
      if (const at::Tensor tensor = of_graph(graph); tensor.defined())
        own.push_back(tensor.detach());
    return own.empty() ? at::Tensor() : at::cat(own).contiguous().requires_grad_();
  };
  const bool features_read =
      std::any_of(objective_.terms.begin(), objective_.terms.end(),
                  [](const auto& term) { return has(traits_of(term).needs, Field::kFeatures); });
  const int64_t each = members_.members_each();
  Pull leaves{leaf([](const Graph& graph) { return graph.logits; }), leaf([&](const Graph& graph) {
                return features_read ? graph.output.features.unsqueeze(0).expand({each, -1, -1})
                                     : at::Tensor();
              }),
              leaf([](const Graph& graph) { return graph.saliency; }),
              leaf([](const Graph& graph) { return graph.input_gradients; })};

  const auto ranks = split(rows.total);
  LossInput fields;
  fields.logits = fields.unlabelled_logits = leaves.logits;
  fields.labels = labels;
  fields.features = leaves.features;
  fields.drawn_member = input.drawn;
  if (discriminator_) fields.discriminator = discriminator_->parameters();
  at::Tensor total;
  for (size_t t = 0; t < objective_.terms.size(); ++t) {
    const auto& term = objective_.terms[t];
    if (is_base(term) || !is_on(term, input)) continue;
    const double weight = losses::weight_at(term.weight, input.epoch, input.batch);
    const at::AutoGradMode graph(weight > 0);
    const auto exchanged = traits_of(term).exchanged;
    const auto value = has(exchanged, Field::kSaliencyMaps)
                           ? split_map_loss(term.name, leaves.saliency, term.options, ranks)
                       : has(exchanged, Field::kInputGradients)
                           ? split_map_loss(term.name, leaves.input_gradients, term.options, ranks)
                           : split_loss(term.name, fields, term.options, ranks);
    if (grid_.run->rank() == 0) figures[column_[t]] += share * value.item<double>();
    if (term.name == "dice") {
      const auto whole =
          gather_rows(ranks.data,
                      members_.multihead()
                          ? leaves.features.detach()
                          : gather_members(ranks.members, leaves.features.detach(), members_.total),
                      rows.total);
      discriminator_->accumulate(
          whole, gather_rows(ranks.data, labels.unsqueeze(0), rows.total).squeeze(0), share);
    }
    if (weight == 0) continue;
    const auto weighted = value * (weight * share * scale_.value);
    total = total.defined() ? total + weighted : weighted;
  }
  if (!total.defined() || !total.requires_grad()) return {};
  std::vector<at::Tensor> wanted;
  std::vector<at::Tensor Pull::*> places;
  for (const auto place :
       {&Pull::logits, &Pull::features, &Pull::saliency, &Pull::input_gradients}) {
    if (!(leaves.*place).defined()) continue;
    wanted.push_back(leaves.*place);
    places.push_back(place);
  }
  const auto derivatives =
      torch::autograd::grad({total}, wanted, {}, {}, false, /*allow_unused=*/true);
  Pull pull;
  for (size_t i = 0; i < places.size(); ++i) pull.*places[i] = derivatives[i];
  return pull;
}

// The derivative of the losses between members, and of what base_pass has kept.
void ImageStepper::backward(int64_t network, const Pull& pull, Graph& graph, double share) const {
  const int64_t each = members_.members_each(), first = network * each;
  std::vector<at::Tensor> outputs, derivatives;
  const auto add = [&](const at::Tensor& output, const at::Tensor& derivative) {
    if (!output.defined() || !derivative.defined() || !output.requires_grad()) return;
    outputs.push_back(output);
    derivatives.push_back(derivative);
  };
  const auto own = [&](const at::Tensor& all) {
    return all.defined() ? all.narrow(0, first, each) : at::Tensor();
  };
  if (graph.base.defined()) add(graph.base, at::full_like(graph.base, share * scale_.value));
  add(graph.logits, own(pull.logits));
  if (pull.features.defined()) add(graph.output.features, own(pull.features).sum(0));
  add(graph.saliency, own(pull.saliency));
  add(graph.input_gradients, own(pull.input_gradients));
  if (!outputs.empty())
    graph.gradient = torch::autograd::grad(outputs, graph.parameters, derivatives, {}, false,
                                           /*allow_unused=*/true);
}

// Every rank of the run finds the same, so all end here, before any waits for another.
void ImageStepper::check_rows(const ImageRows& rows) const {
  if (rows.total >= grid_.shape.data) return;
  Error error(ErrorKind::kUsage,
              fmt::format("a batch of {} images for {} data ranks: losses between members want one "
                          "for each; data.drop_last = true leaves a short last batch out",
                          rows.total, grid_.shape.data),
              __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

// A step that may take long can be abandoned between the passes of networks. The one before it
// tells: what ranks say in update() is the same on all. The first of a training may take any time.
void ImageStepper::begin_step() {
  constexpr double kLongStepS = 1;
  if (in_step_) return;
  const at::NoGradGuard no_graph;
  in_step_ = true;
  step_start_ = std::chrono::steady_clock::now();
  watches_ = options_.stop && longest_s_ > kLongStepS;
  buffers_before_ =
      watches_ && members_.buffers.size(1) > 0 ? members_.buffers.clone() : at::Tensor();
}

// Whether any rank wants to stop; then nothing is left of the step. Collective over the run.
bool ImageStepper::abandoned() {
  if (!watches_) return false;
  auto stop = at::full({1}, static_cast<int64_t>(options_.stop()), at::kLong);
  if (grid_.run->size() > 1) {
    // A rank that passed over its passes waits for others that do not know yet: as long as a step
    // takes, which is no sign of a stuck rank.
    auto& settings = grid_.run->wait_settings();
    const double more_s = options_.stop() ? longest_s_ : 0;
    const double timeout_s = std::exchange(settings.timeout_s, settings.timeout_s + more_s);
    grid_.run->all_reduce(stop, ReduceOp::kMax);
    settings.timeout_s = timeout_s;
  }
  if (stop.item<int64_t>() == 0) return false;
  const at::NoGradGuard no_graph;
  gradients_.zero_();
  if (buffers_before_.defined()) members_.buffers.copy_(buffers_before_);
  if (discriminator_) discriminator_->discard();
  in_step_ = false;
  return true;
}

bool ImageStepper::accumulate(const ImageStepInput& input, double share, at::Tensor figures) {
  begin_step();
  auto* row = figures.data_ptr<double>();
  const bool other_batch = reads_diversity_batch(input);
  const bool others =
      std::any_of(objective_.terms.begin(), objective_.terms.end(),
                  [&](const auto& term) { return !is_base(term) && is_on(term, input); });
  const bool keep = others && !other_batch;
  const auto& common = other_batch ? input.diversity : input.own[0];
  if (others) check_rows(common);
  const int64_t networks = members_.networks();
  std::vector<Graph> graphs(networks);
  for (int64_t i = 0; i < networks; ++i) graphs[i].parameters = leaves(i);
  const auto base = [&, this](int64_t i, bool later = false) {
    base_pass(i, input, graphs[i], keep, later, row, share);
  };
  const auto diversity = [&, this](int64_t i) {
    if (other_batch) diversity_forward(i, input, graphs[i]);
    if (others && common.labels.defined()) compute_maps(i, input, common.labels, graphs[i]);
  };
  // Without running statistics the two passes of a network do not depend on each other: as many
  // pieces as possible between two points where threads meet.
  const bool any_order = other_batch && members_.buffers.size(1) == 0;
  // With them the evaluation pass follows the training pass; of the networks of an incomplete last
  // round the backward pass of the latter fills the gaps of the second part.
  const int64_t full = networks / threads() * threads();  // networks of complete rounds
  const bool fills =
      other_batch && !any_order && !batch_norm_ && members_.values.is_cpu() && full > 0;
  std::vector<std::function<void()>> first, second;
  for (int64_t i = 0; i < networks; ++i) {
    if (any_order)
      (i < networks / 2 ? first : second).push_back([&base, i] { base(i); });
    else
      first.push_back(
          [&base, &diversity, i, later = fills && i >= full] { base(i, later), diversity(i); });
  }
  for (int64_t i = 0; any_order && i < networks; ++i)
    first.push_back([&diversity, i] { diversity(i); });
  run_pieces(first, batch_norm_ != nullptr);
  if (abandoned()) return false;
  if (others) {
    const auto labels = labels_of(common, graphs);
    if (!common.labels.defined()) {
      each_network(members_, [&](int64_t i) {
        if (wants_to_stop()) return;
        const at::AutoGradMode on(true);
        compute_maps(i, input, labels, graphs[i]);
      });
      if (abandoned()) return false;
    }
    const auto derivatives = pull(input, graphs, labels, row, share);
    for (int64_t i = 0; i < networks; ++i)
      second.push_back([&, this, i] { backward(i, derivatives, graphs[i], share); });
    for (int64_t i = full; fills && i < networks; ++i)
      second.push_back([&, this, i] { base_backward(graphs[i].own_loss, graphs[i], share); });
    run_pieces(second, batch_norm_ && keep);
    if (abandoned()) return false;
  }
  each_network(members_, [&](int64_t i) {
    add_gradient(i, graphs[i].base_gradient);
    add_gradient(i, graphs[i].gradient);
    graphs[i] = {};
  });
  return true;
}

// On the threads of this process; one after the other, in order, on a GPU and where pieces wait for
// other ranks.
void ImageStepper::run_pieces(const std::vector<std::function<void()>>& pieces,
                              bool in_order) const {
  const auto run = [&](int64_t i) {
    if (!in_order && wants_to_stop()) return;  // abandoned() follows
    const at::AutoGradMode on(true);
    pieces[i]();
  };
  const auto count = static_cast<int64_t>(pieces.size());
  if (members_.values.is_cpu() && !in_order) return parallel_tasks(count, run);
  for (int64_t i = 0; i < count; ++i) run(i);
}

}  // namespace dissent
