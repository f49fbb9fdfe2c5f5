// Cases of sdde_losses.h5 other than saliency maps, input gradients and training steps.
#include <any>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dissent/losses/adp.hpp>
#include <dissent/losses/adversarial.hpp>
#include <dissent/losses/dice_discriminator.hpp>
#include <dissent/losses/gradcam.hpp>
#include <dissent/losses/input_gradient.hpp>
#include <dissent/losses/logit_norm.hpp>
#include <dissent/losses/ncl.hpp>
#include <dissent/losses/oe.hpp>

#include "losses/weighted_sum.hpp"
#include "train/update/schedule.hpp"
#include "verify/sdde.hpp"

namespace dissent::verify {
namespace {

using losses::LossInput;
using losses::LossTerm;

using Leaves = std::vector<std::pair<std::string, at::Tensor>>;

void check_ncl(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");
  checker.value(losses::ncl(logits), {{"logits", logits}});
}

void check_adp(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");
  const losses::AdpOptions options{.alpha = reference.param<double>("alpha"),
                                   .beta = reference.param<double>("beta")};
  checker.value(losses::adp(logits, reference.input("labels"), options), {{"logits", logits}});
}

void check_oe(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");
  checker.value(losses::oe(logits), {{"logits", logits}});
}

void check_logit_norm(const Case& reference, Checker& checker) {
  const auto logits = reference.differentiable("logits");  // of one member
  checker.value(losses::logit_norm(logits.unsqueeze(0), reference.input("labels"),
                                   {.tau = reference.param<double>("tau")})
                    .mean(),
                {{"logits", logits}});
}

// The discriminator's parameters label_embedding, W0, b0, W1, ... as leaves with their names.
Leaves discriminator_of(const Case& reference) {
  Leaves leaves = {{"label_embedding", reference.differentiable("label_embedding")}};
  for (int layer = 0; reference.has_input(fmt::format("W{}", layer)); ++layer)
    for (const char* kind : {"W", "b"}) {
      const auto name = fmt::format("{}{}", kind, layer);
      leaves.emplace_back(name, reference.differentiable(name));
    }
  return leaves;
}

std::vector<at::Tensor> tensors_of(const Leaves& leaves) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : leaves) tensors.push_back(tensor);
  return tensors;
}

void check_dice(const Case& reference, Checker& checker) {
  // The loss of the members; check_discriminator() compares the gradients of the discriminator.
  LossInput input;
  input.features = reference.differentiable("features");
  input.labels = reference.input("labels");
  input.discriminator = tensors_of(discriminator_of(reference));
  checker.value(losses::evaluate("dice", input, dice_options(reference)),
                {{"features", input.features}});
}

void check_discriminator(const Case& reference, Checker& checker) {
  const auto leaves = discriminator_of(reference);
  const auto loss =
      losses::dice_discriminator_loss(tensors_of(leaves), reference.input("features"),
                                      reference.input("labels"), dice_options(reference));
  // The reference sums the rates of the pairs in f32, and its tolerance is below the rounding error
  // of that sum.
  float sum = 0;
  const auto rates = loss.accuracy.to(at::kCPU, at::kFloat).contiguous();
  for (int64_t pair = 0; pair < rates.numel(); ++pair) sum += rates.const_data_ptr<float>()[pair];
  checker.output("accuracy", sum / static_cast<float>(rates.numel()));
  checker.value(loss.value, leaves);
}

// The network of the cases: maps = log(1 + exp(V images)), features = spatial mean of tanh(maps),
// logits = W features, with V and W of each member.
LossInput forward(const at::Tensor& v, const at::Tensor& w, const at::Tensor& images) {
  const auto maps = at::einsum("mkc,mbcxy->mbkxy", {v, images}).exp().log1p();
  LossInput input;
  input.images = losses::MemberInputs::stacked(images);
  input.feature_maps = losses::MemberInputs::stacked(maps);
  input.features = maps.tanh().mean(at::IntArrayRef{3, 4});
  input.logits = at::einsum("mlk,mbk->mbl", {w, input.features});
  return input;
}

// Adds a term whose weight is the parameter `key` of the case, if it has one.
void add_term(std::vector<LossTerm>& terms, const Case& reference, const char* key,
              const char* name, std::any options = {}) {
  if (reference.has(key))
    terms.push_back({name, {.weight = reference.param<double>(key)}, std::move(options)});
}

}  // namespace

std::vector<LossTerm> sdde_terms(const Case& reference) {
  const double base_weight = reference.has("ce") ? reference.param<double>("ce") : 1;
  std::vector<LossTerm> terms;

  // The base losses, which apply to each member alone.
  if (reference.param<std::string>("cls_loss") == "ce")
    terms.push_back({"cross_entropy", {.weight = base_weight}, {}});
  else
    terms.push_back({"logit_norm",
                     {.weight = base_weight},
                     losses::LogitNormOptions{.tau = reference.param<double>("logitnorm_tau")}});
  if (reference.has("adversarial"))
    terms.push_back({"adversarial_cross_entropy", {.weight = base_weight}, {}});

  // Diversity losses on logits.
  add_term(terms, reference, "ncl", "ncl");
  add_term(terms, reference, "oe", "oe");
  if (reference.has("adp"))
    add_term(terms, reference, "adp", "adp",
             losses::AdpOptions{.alpha = reference.param<double>("adp_alpha"),
                                .beta = reference.param<double>("adp_beta")});

  // Diversity losses on gradients, saliency maps and features.
  if (reference.has("eta"))
    add_term(terms, reference, "eta", "input_gradient",
             losses::InputGradientOptions{
                 .mode = losses::input_gradient_mode(reference.param<std::string>("mode"))});
  if (reference.has("gradcam"))
    add_term(
        terms, reference, "gradcam", "gradcam",
        losses::GradCamOptions{
            .target = losses::grad_cam_target(reference.param<std::string>("gradcam_mode")),
            .activation = losses::map_activation(reference.param<std::string>("activation")),
            .crop = reference.param<int64_t>("padding"),
            .similarity = losses::similarity_kind(reference.param<std::string>("similarity"))});

  // The ramp belongs to the weight of a loss here, and to DICE alone in SDDE.
  if (reference.has("dice")) {
    losses::LossWeight weight{.weight = reference.param<double>("dice")};
    if (reference.has("dice_ramp_up_epochs"))
      weight.ramp_epochs = reference.param<int64_t>("dice_ramp_up_epochs");
    terms.push_back({"dice", weight, dice_options(reference)});
  }
  return terms;
}

losses::DiceOptions dice_options(const Case& reference) {
  // Cases of the loss alone have no discriminator to build, so its sizes are optional.
  losses::DiceOptions options;
  options.leaky_slope = reference.param<double>("leaky_slope");
  if (reference.has("tau")) options.tau = reference.param<double>("tau");
  if (reference.has("units"))
    options.units = reference.params.at("units").get<std::vector<int64_t>>();
  if (reference.has("label_dim")) options.label_dim = reference.param<int64_t>("label_dim");
  return options;
}

namespace {

void check_sdde_total(const Case& reference, Checker& checker) {
  const auto v = reference.differentiable("V"), w = reference.differentiable("W");
  const auto own_images = reference.differentiable("images");
  const auto& targets = reference.input("targets");
  const auto terms = sdde_terms(reference);

  // Base losses: each member on its own batch, and on adversarial examples made from it.
  auto base = forward(v, w, own_images);
  base.labels = targets;
  if (reference.has("adversarial")) {
    const auto loss = losses::evaluate(terms[0].name, base, terms[0].options);

    // Only the first term, the base loss, defines the direction of the adversarial examples.
    base.adversarial_logits = forward(v, w,
                                      losses::adversarial_inputs(
                                          loss, own_images, reference.param<double>("adversarial")))
                                  .logits;
  }

  // Diversity losses: all members on one batch, unlabelled or that of one member.
  const bool outliers = reference.has_input("unlabelled");
  const int64_t member = outliers ? 0 : reference.param<int64_t>("diversity_member");
  const auto batch = outliers ? reference.input("unlabelled") : reference.input("images")[member];
  auto diversity =
      forward(v, w, at::stack(std::vector<at::Tensor>(v.size(0), batch)).set_requires_grad(true));
  diversity.labels = outliers ? losses::predicted_labels(diversity.logits) : targets[member];
  diversity.unlabelled_logits = diversity.logits;

  // The terms by the names of the reference, and their weighted sum.
  const auto sum = losses::weighted_sum(terms, base, diversity, 0, 0);
  const std::map<std::string, std::string> released = {{"cross_entropy", "ce"},
                                                       {"logit_norm", "ce"},
                                                       {"adversarial_cross_entropy", "adv"},
                                                       {"input_gradient", "inpgrad"}};
  for (const auto& term : sum.values)
    checker.output("loss_" + (released.count(term.name) > 0 ? released.at(term.name) : term.name),
                   term.value);
  checker.value(sum.total, {{"V", v}, {"W", w}});
}

// The weight of a loss at every (epoch, step) of the case, which counts both from 1.
at::Tensor weights(const Case& reference, const losses::LossWeight& weight, at::ScalarType dtype) {
  const auto& epochs = reference.input("epoch");

  auto values = at::empty(epochs.sizes(), dtype);
  for (int64_t i = 0; i < epochs.numel(); ++i) {
    const int64_t step =
        reference.has_input("step") ? reference.input("step")[i].item<int64_t>() : 1;
    values[i] = losses::weight_at(weight, epochs[i].item<int64_t>() - 1, step - 1);
  }
  return values;
}

void check_apply_diversity(const Case& reference, Checker& checker) {
  // Every `period` steps, but in every step of the first and the last epochs. Epochs count from 1
  // in the reference and from 0 here.
  const losses::LossWeight weight{.period = reference.param<int64_t>("period"),
                                  .every_step_before = reference.param<int64_t>("first_epochs"),
                                  .every_step_from = reference.param<int64_t>("num_epochs") -
                                                     reference.param<int64_t>("last_epochs") - 1};
  checker.output("apply", weights(reference, weight, at::kLong));
}

void check_dice_scale(const Case& reference, Checker& checker) {
  checker.output(
      "scale",
      weights(reference, {.ramp_epochs = reference.param<int64_t>("ramp_up_epochs")}, at::kDouble));
}

void check_cosine_rate(const Case& reference, Checker& checker) {
  const auto epochs = reference.param<int64_t>("num_epochs"),
             per_epoch = reference.param<int64_t>("steps_per_epoch");
  ScheduleOptions options;
  options.kind = ScheduleKind::kCosine;
  options.per = ScheduleUnit::kStep;
  options.minimum = reference.param<double>("lr_min");
  options.after_end = AfterEnd::kRise;  // as released; the default here holds the minimum
  const Schedule schedule(options, reference.param<double>("lr"), epochs, per_epoch);

  const auto& steps = reference.input("step");
  auto rates = at::empty(steps.sizes(), at::kDouble);
  for (int64_t i = 0; i < steps.numel(); ++i) {
    // The reference counts steps through all epochs.
    const auto step = steps[i].item<int64_t>();
    rates[i] = schedule.rate(step / per_epoch, step % per_epoch);
  }
  checker.output("lr", rates);
}

}  // namespace

const std::vector<CaseHandler>& sdde_loss_handlers() {
  static const std::vector<CaseHandler> table = {
      {"loss", "ncl", check_ncl},
      {"loss", "adp", check_adp},
      {"loss", "oe", check_oe},
      {"loss", "logitnorm", check_logit_norm},
      {"loss", "dice", check_dice},
      {"loss", "dice_discriminator", check_discriminator},
      {"loss", "total", check_sdde_total},
      {"schedule", "apply_diversity", check_apply_diversity},
      {"schedule", "dice_scale", check_dice_scale},
      {"schedule", "cosine_lr", check_cosine_rate},
  };
  return table;
}

}  // namespace dissent::verify
