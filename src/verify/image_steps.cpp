// Cases of sdde_losses.h5 of kind step: several steps of SDDE's trainer, computed by the stepper
// that `dissent train` runs.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "train/images/image_stepper.hpp"
#include "train/update/schedule.hpp"
#include "verify/sdde.hpp"

namespace dissent::verify {
namespace {

// The network of the cases: maps = log(1 + exp(V x)) (a 1 x 1 convolution), features = spatial mean
// of tanh(maps), logits = W features.
class CaseNetwork final : public ImageNetwork {
 public:
  CaseNetwork(int64_t channels, int64_t maps, int64_t classes)
      : ImageNetwork(channels, classes, maps) {
    add_parameter(parts_, "V", {maps, channels}, {Initial::Kind::kConstant, 0});
    add_parameter(parts_, "W", {classes, maps}, {Initial::Kind::kConstant, 0});
  }
  ImageOutput run(const Pass& pass, const at::Tensor& x) const override {
    ImageOutput out;
    out.maps = at::einsum("kc,bcxy->bkxy", {pass.parameters[0], x}).exp().log1p();
    out.features = out.maps.tanh().mean(at::IntArrayRef{2, 3});
    out.logits = at::linear(out.features, pass.parameters[1]);
    return out;
  }
};

ImageMembers members_of(const Case& reference) {
  const auto &v = reference.input("V"), &w = reference.input("W");

  auto network = std::make_shared<CaseNetwork>(v.size(2), v.size(1), w.size(1));

  // V [M, K, c] and W [M, C, K] become the stack [M, P]; the network has no BatchNorm and no
  // buffers.
  auto values = at::zeros({v.size(0), network->layout().size()}, reference.numbers());

  for (const auto& entry : network->layout().entries())
    stacked_parameter(values, entry).copy_(reference.input(entry.name));
  return {{v.size(0), 0, values}, network, at::empty({v.size(0), 0}, reference.numbers())};
}

std::vector<std::string> discriminator_names(const Case& reference) {
  std::vector<std::string> names = {"label_embedding"};
  for (int layer = 0; reference.has_input(fmt::format("W{}", layer)); ++layer)
    for (const char* kind : {"W", "b"}) names.push_back(fmt::format("{}{}", kind, layer));
  return names;
}

// The batches of one step. in/images [S, M, B, ...] has a batch per step and member for the losses
// of single members. The diversity losses use in/unlabelled [S, B', ...] if it exists, else the
// batch of one member.
ImageStepInput step_of(const Case& reference, int64_t step, int64_t members) {
  const auto images = reference.input("images")[step], targets = reference.input("targets")[step];

  // SDDE counts epochs from 1.
  ImageStepInput input{.epoch = reference.param<int64_t>("epoch") - 1, .batch = step};
  for (int64_t m = 0; m < members; ++m)
    input.own.push_back({images[m], targets[m], targets.size(1)});

  if (reference.has_input("unlabelled")) {
    const auto outliers = reference.input("unlabelled")[step];
    input.common = {outliers, {}, outliers.size(0)};
  } else {
    input.common = input.own[reference.host_input("diversity_member")[step].item<int64_t>()];
  }
  return input;
}

std::optional<Discriminator> discriminator_of(const Case& reference, double weight_decay,
                                              double clip_norm) {
  if (!reference.has("dice")) return std::nullopt;

  // Copies: the steps update them in place, and other handlers read the same case.
  std::vector<at::Tensor> parameters;
  for (const auto& name : discriminator_names(reference))
    parameters.push_back(reference.input(name).clone());
  const DiscriminatorOptions options{.learning_rate = reference.param<double>("discriminator_lr"),
                                     .momentum = reference.param<double>("momentum")};
  return Discriminator(parameters, dice_options(reference), options, weight_decay, clip_norm);
}

// SDDE's cosine schedule, which rises again after its last epoch.
Schedule schedule_of(const Case& reference) {
  ScheduleOptions options;
  options.kind = ScheduleKind::kCosine;
  options.per = ScheduleUnit::kStep;
  options.minimum = reference.param<double>("lr_min");
  options.after_end = AfterEnd::kRise;
  return Schedule(options, reference.param<double>("lr"), reference.param<int64_t>("num_epochs"),
                  reference.param<int64_t>("steps_per_epoch"));
}

void check_steps(const Case& reference, Checker& checker) {
  // All members on one rank: a grid of 1 x 1 x 1.
  auto members = members_of(reference);
  auto world = make_self_communicator();
  Grid grid(*world, {});
  const double weight_decay = reference.param<double>("weight_decay"),
               clip_norm = reference.has("grad_clip") ? reference.param<double>("grad_clip") : 0;

  // The members' optimiser, and the discriminator of DICE with its own.
  const OptimizerOptions options{.kind = OptimizerKind::kSgd,
                                 .learning_rate = reference.param<double>("lr"),
                                 .weight_decay = weight_decay,
                                 .momentum = reference.param<double>("momentum"),
                                 .nesterov = reference.param<bool>("nesterov")};
  Optimizer optimizer(options, members.values);
  auto discriminator = discriminator_of(reference, weight_decay, clip_norm);

  // Products have the dtype of the inputs: f64 on the CPU, f64 or f32 on a device.
  ImageStepOptions step_options;
  step_options.clip_norm = clip_norm;
  step_options.compute = reference.arithmetic;
  ImageStepper stepper(members,
                       {.terms = sdde_terms(reference),
                        .same_batch = false,
                        .unlabelled = reference.has_input("unlabelled")},
                       step_options, grid, discriminator ? &*discriminator : nullptr);

  // One batch per step and member, accumulated once, then the update of the step.
  const auto schedule = schedule_of(reference);
  const int64_t steps = reference.input("images").size(0);
  for (int64_t s = 0; s < steps; ++s) {
    stepper.accumulate(step_of(reference, s, members.total), 1);
    stepper.update(optimizer, schedule.rate(0, s), Request::kNone);
  }

  // The learning rate after the last step, and all weights.
  checker.host_output("lr", at::scalar_tensor(schedule.rate(0, steps), at::kDouble));
  for (const auto& entry : members.network->layout().entries())
    checker.output(entry.name, stacked_parameter(members.values, entry));
  if (!discriminator) return;
  const auto names = discriminator_names(reference);
  for (size_t i = 0; i < names.size(); ++i)
    checker.output(names[i], discriminator->parameters()[i]);
}

}  // namespace

const std::vector<CaseHandler>& image_step_handlers() {
  static const std::vector<CaseHandler> table = {{"step", "sdde_step", check_steps}};
  return table;
}

}  // namespace dissent::verify
