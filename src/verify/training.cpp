// Cases that need a head, an optimiser or a complete evaluation. Steps are computed by the stepper
// that `dissent train` runs.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <dissent/losses/a2d.hpp>
#include <dissent/losses/cross_entropy.hpp>
#include <dissent/scores/ensemble_output.hpp>

#include "train/heads/device_stepper.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"
#include "train/update/schedule.hpp"
#include "verify/case.hpp"

namespace dissent::verify {
namespace {

// The members of a case from its parameters, which are stacked ([M, ...]) or those of one member.
HeadMembers members_of(const Case& reference, bool stacked) {
  // The sizes follow from the shapes [.., hidden, dim] and [.., classes, dim].
  const auto& weight = reference.input("mlp.fc1.weight");
  const auto& classifier = reference.input("head.weight");
  std::shared_ptr<const Head> head =
      make_head("block_head", weight.size(-1), weight.size(-2), classifier.size(-2));

  const int64_t total = stacked ? weight.size(0) : 1;
  auto values = at::zeros({total, head->layout().size()}, reference.numbers());
  for (const auto& entry : head->layout().entries())
    stacked_parameter(values, entry).copy_(reference.input(entry.name));
  return {{total, 0, values}, std::move(head)};
}

// The way a GPU computes: batched products of a stack, here of one member.
void check_stack(Checker& checker, const HeadMembers& members, const at::Tensor& x,
                 const at::Tensor& cotangent) {
  std::vector<at::Tensor> saved;

  const auto stack_x = x.unsqueeze(0);
  const auto logits = members.head->forward_stack(members.values, stack_x, &saved);

  // The cotangent stands for dL/dlogits, so L = sum(logits * cotangent).
  auto gradient = at::zeros_like(members.values);
  members.head->backward_stack(members.values, stack_x, saved, cotangent.unsqueeze(0), gradient);
  checker.output("logits", logits[0]);
  for (const auto& entry : members.head->layout().entries())
    checker.gradient(entry.name, stacked_parameter(gradient, entry)[0]);
}

void check_member(const Case& reference, Checker& checker) {
  const auto members = members_of(reference, false);
  const auto flat = members.member(0);
  const auto &x = reference.input("x"), &cotangent = reference.input("cotangent");

  std::vector<at::Tensor> saved;
  const auto logits = members.head->forward(flat, x, &saved);

  at::Tensor dx;
  const auto gradient = members.head->backward(flat, x, saved, cotangent, &dx);

  // The reference differentiates <logits, cotangent>: its derivative with respect to the
  // cotangent is the logits.
  checker.output("logits", logits);
  checker.output("value", (logits * cotangent).sum());
  checker.gradient("x", dx);
  checker.gradient("cotangent", logits);

  // backward() returns a weight's gradient as the two factors of dy^T x, which the optimiser
  // multiplies block by block.
  const auto& layout = members.head->layout();
  if (reference.as_device) return check_stack(checker, members, x, cotangent);
  for (const auto& part : gradient.linear)
    checker.gradient(layout.entry(part.entry).name, at::mm(part.dy.t(), part.x));
  for (const auto& part : gradient.vectors)
    checker.gradient(layout.entry(part.entry).name, part.value);
}

OptimizerOptions optimizer_of(const Case& reference) {
  const auto& given = reference.params.at("optimizer");
  const bool sgd = given.at("type") == "sgd";
  OptimizerOptions options;
  options.kind = sgd ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
  options.learning_rate = given.at("start_lr");

  // SED's configurations keep each optimiser's own keys in a table of its name.
  const auto& own = given.value(sgd ? "sgd" : "adamW", nlohmann::json::object());
  if (own.contains("weight_decay")) options.weight_decay = own.at("weight_decay").get<double>();
  if (own.contains("momentum")) options.momentum = own.at("momentum").get<double>();

  if (reference.has("betas")) {
    options.beta1 = reference.params.at("betas")[0];
    options.beta2 = reference.params.at("betas")[1];
  }
  if (reference.has("adam_eps")) options.epsilon = reference.param<double>("adam_eps");
  return options;
}

ObjectiveOptions objective_of(const Case& reference) {
  const auto lambda = reference.param<double>("lambda");
  ObjectiveOptions options;

  // As in SED: (1 - lambda) of the task loss and lambda * manual_lambda of A2D.
  const double smoothing =
      reference.has("smoothing_eps") ? reference.param<double>("smoothing_eps") : 0;
  options.terms.push_back({"cross_entropy",
                           {.weight = 1 - lambda},
                           losses::CrossEntropyOptions{.label_smoothing = smoothing}});

  const auto sample_weight =
      reference.has("modifier") ? losses::SampleWeight::kHard : losses::SampleWeight::kNone;
  options.terms.push_back({"a2d",
                           {.weight = lambda * reference.param<double>("manual_lambda")},
                           losses::A2dOptions{.sample_weight = sample_weight}});
  return options;
}

std::vector<int64_t> integers(const at::Tensor& values) {
  const auto flat = values.contiguous();
  return {flat.const_data_ptr<int64_t>(), flat.const_data_ptr<int64_t>() + flat.numel()};
}

ScheduleOptions cosine(int64_t t_max) {
  ScheduleOptions options;
  options.kind = ScheduleKind::kCosine;
  options.t_max_epochs = t_max;
  options.after_end = AfterEnd::kRise;  // as PyTorch's scheduler
  return options;
}

// With "freeze_model_on_first_epoch" the members are not updated in epoch 0, and the schedule
// starts one epoch later.
bool is_frozen_at_first(const Case& reference) {
  return reference.has("freeze_model_on_first_epoch") &&
         reference.param<bool>("freeze_model_on_first_epoch");
}

int64_t updating_epoch(int64_t epoch, bool frozen_at_first) {
  return std::max<int64_t>(0, epoch - (frozen_at_first ? 1 : 0));
}

// The stepper of the host, or the one of a GPU if the case is computed as on a device.
std::unique_ptr<WaveStepper> make_stepper(const Case& reference, HeadMembers& members,
                                          Optimizer& optimizer, Grid& grid) {
  const auto objective = objective_of(reference);
  if (reference.as_device)
    return std::make_unique<DeviceStepper>(members, optimizer, objective, DeviceStepperOptions{},
                                           grid);
  return std::make_unique<HostStepper>(members, optimizer, objective, StepperOptions{}, grid);
}

// Steps `first` to `last` - 1 of the case: rows, active members and the permutation index of A2D.
std::vector<Step> steps_of(const Case& reference, int64_t epoch, int64_t first, int64_t last) {
  std::vector<Step> steps;
  for (int64_t s = first; s < last; ++s)
    steps.push_back({epoch,
                     s - first,
                     integers(reference.host_input("batch_index")[s]),
                     {},
                     integers(reference.host_input("active")[s]),
                     reference.host_input("a2d_m")[s].item<int64_t>()});
  return steps;
}

// What a case records of each step.
struct StepLog {
  explicit StepLog(int64_t steps)
      : rates(at::empty({steps}, at::kDouble)),
        total(at::empty_like(rates)),
        task(at::empty_like(rates)),
        repulsion(at::empty_like(rates)) {}
  void add(int64_t step, const StepResult& result) {
    total[step] = result.total;
    task[step] = result.losses[0];
    repulsion[step] = result.losses[1];
  }
  at::Tensor rates, total, task, repulsion;
};

void check_train_step(const Case& reference, Checker& checker) {
  auto members = members_of(reference, true);
  auto world = make_self_communicator();
  Grid grid(*world, {});
  const auto optimizer_options = optimizer_of(reference);
  Optimizer optimizer(optimizer_options, members.values);
  const auto stepper = make_stepper(reference, members, optimizer, grid);

  const auto count = reference.param<int64_t>("steps");
  const bool frozen = is_frozen_at_first(reference);
  const int64_t per_epoch =
      reference.has("steps_per_epoch") ? reference.param<int64_t>("steps_per_epoch") : count;

  // Without T_max the learning rate is constant.
  const Schedule schedule(
      reference.has("T_max") ? cosine(reference.param<int64_t>("T_max")) : ScheduleOptions{},
      optimizer_options.learning_rate, 1, per_epoch);

  // As in training, the steps of an epoch are grouped into waves of steps that share no member.
  StepLog log(count);
  for (int64_t epoch = 0; epoch * per_epoch < count; ++epoch) {
    const int64_t updating = updating_epoch(epoch, frozen), first = epoch * per_epoch;
    const auto steps = steps_of(reference, epoch, first, std::min(count, first + per_epoch));
    for (const auto& wave : make_waves(steps)) {
      std::vector<StepInput> inputs;
      for (const int64_t s : wave) {
        const auto rows = reference.input("batch_index")[first + s];
        inputs.push_back({&steps[s], schedule.rate(updating, s),
                          reference.input("embed").index_select(0, rows),
                          reference.input("labels").index_select(0, rows)});
      }
      const auto results = stepper->run(inputs, updating, !(frozen && epoch == 0));
      for (size_t i = 0; i < wave.size(); ++i) {
        log.rates[first + wave[i]] = inputs[i].learning_rate;
        if (results[i].known) log.add(first + wave[i], results[i]);
      }
    }
    // A GPU's losses arrive after its steps.
    for (const auto& late : stepper->late_results(true)) log.add(first + late.step, late.result);
  }

  // The rates are computed on the host in any case, so they have to meet the tolerance of the
  // case.
  checker.host_output("lr", log.rates);
  checker.output("total", log.total);
  checker.output("task_loss", log.task);
  checker.output("repulsion_loss", log.repulsion);
  for (const auto& entry : members.head->layout().entries())
    checker.output(entry.name, stacked_parameter(members.values, entry));
}

void check_cosine(const Case& reference, Checker& checker) {
  const auto epochs = reference.param<int64_t>("epochs");
  const bool frozen = reference.param<bool>("freeze_model_on_first_epoch");
  const auto options = cosine(reference.has("T_max") ? reference.param<int64_t>("T_max") : epochs);
  const Schedule schedule(options, reference.param<double>("start_lr"), epochs, 1);

  auto rates = at::empty({epochs}, at::kDouble);
  for (int64_t epoch = 0; epoch < epochs; ++epoch)
    rates[epoch] = schedule.rate(updating_epoch(epoch, frozen), 0);
  checker.output("lr", rates);
}

void check_generalization(const Case& reference, Checker& checker) {
  const auto members = members_of(reference, true);
  // The soup is one network with the mean weights of all members.
  const auto soup = scores::uniform_soup(members.values);
  const auto& x = reference.input("embed");

  std::vector<at::Tensor> logits;
  for (int64_t m = 0; m < members.total; ++m)
    logits.push_back(members.head->forward(members.member(m), x, nullptr));

  const auto stacked = at::stack(logits), soup_logits = members.head->forward(soup, x, nullptr);

  checker.output("logits", stacked);
  checker.output("soup_logits", soup_logits);
  for (const auto& entry : members.head->layout().entries())
    checker.output("soup_" + entry.name, parameter(soup, entry));
  check_evaluation(reference, checker, stacked, soup_logits, scores::InputKind::kLogits);
}

}  // namespace

const std::vector<CaseHandler>& training_handlers() {
  static const std::vector<CaseHandler> table = {
      {"network", "sed_member", check_member},
      {"step", "sed_train", check_train_step},
      {"schedule", "cosine", check_cosine},
      {"score", "sed_ood_gen", check_generalization},
  };
  return table;
}

}  // namespace dissent::verify
