#include "train/update/optimizer.hpp"

#include <cstdint>
#include <utility>

#include <dissent/error.hpp>

#include "kernels/momentum_linear.hpp"
#include "kernels/update_members.hpp"

namespace dissent {
namespace {
// For larger batches a separate product is faster: it is bound by arithmetic and not by memory.
constexpr int64_t kOnePassRows = 64;

const Names<OptimizerKind>& optimizer_names() {
  static const Names<OptimizerKind> names{{"adamw", OptimizerKind::kAdamW},
                                          {"adam", OptimizerKind::kAdam},
                                          {"sgd", OptimizerKind::kSgd}};
  return names;
}

kernels::UpdateRule update_rule(const OptimizerOptions& options) {
  // The kernel has a rule for each case, so that SGD without momentum reads and writes no state.
  using Rule = kernels::UpdateRule;
  if (options.kind == OptimizerKind::kAdamW) return Rule::kAdamW;
  if (options.kind == OptimizerKind::kAdam) return Rule::kAdam;
  if (optimizer_states(options) == 0) return Rule::kPlain;
  return options.nesterov ? Rule::kNesterov : Rule::kMomentum;
}

}  // namespace

std::string optimizer_name(OptimizerKind kind) {
  for (const auto& [name, value] : optimizer_names())
    if (value == kind) return name;
  return "";
}

int64_t optimizer_states(const OptimizerOptions& options) {
  // Values of state per parameter: the two moments of Adam, or a momentum.
  if (options.kind != OptimizerKind::kSgd) return 2;
  return options.momentum > 0 ? 1 : 0;
}

const TableSpec& optimizer_table() {
  using O = OptimizerOptions;
  static const TableSpec table =
      OptionTable<O>("optimizer", "Optimizer")

          // Defaults are those of torch.optim, except for the momentum (torch: 0).
          .choice("name", &O::kind, optimizer_names(), "the optimiser, as in torch.optim")
          .option("learning_rate", &O::learning_rate,
                  {.meaning = "initial learning rate", .min = 0})
          .option(
              "weight_decay", &O::weight_decay,
              {.meaning =
                   "weight decay of every parameter; auto: torch's default (adamw 0.01, others 0)",
               .min = 0})

          .option("beta1", &O::beta1,
                  {.meaning = "adam, adamw: decay of the first moment", .min = 0, .max = 1})
          .option("beta2", &O::beta2,
                  {.meaning = "adam, adamw: decay of the second moment", .min = 0, .max = 1})
          .option("epsilon", &O::epsilon,
                  {.meaning = "adam, adamw: added to the denominator", .min = 0})

          .option("momentum", &O::momentum, {.meaning = "sgd: momentum", .min = 0, .max = 1})
          .option("nesterov", &O::nesterov, {.meaning = "sgd: Nesterov momentum"});
  return table;
}

Optimizer::Optimizer(const OptimizerOptions& options, at::Tensor values)
    : options_(options), values_(std::move(values)) {
  const bool sgd = options.kind == OptimizerKind::kSgd;
  DISSENT_CHECK(!sgd || !options.nesterov || options.momentum > 0, kUsage,
                "optimizer.nesterov: expected a momentum above 0, found {}", options.momentum);
  weight_decay_ = options.weight_decay.value_or(options.kind == OptimizerKind::kAdamW ? 0.01 : 0.0);

  // SGD has a momentum, if any; Adam has the moments of first and second order.
  if (optimizer_states(options) > 0) first_ = at::zeros_like(values_);
  if (!sgd) second_ = at::zeros_like(values_);

  // A step count per member: members are updated in different steps. f32, as the fused operators
  // read it.
  steps_ = at::zeros({values_.size(0)}, values_.options().dtype(at::kFloat));
}

void Optimizer::update(int64_t i, int64_t offset, const at::Tensor& gradient,
                       double learning_rate) {
  // ATen's fused operators take lists of tensors: here one slice of each stack, updated in place.
  const int64_t n = gradient.numel();
  const auto slice = [&](const at::Tensor& stack) {
    return std::vector<at::Tensor>{stack[i].narrow(0, offset, n)};
  };
  const std::vector<at::Tensor> gradients{gradient.reshape({n})};

  const auto p = slice(values_);

  // is_first_step is always false: the momentum starts at 0, so momentum * 0 + g is the first
  // step's g.
  if (options_.kind == OptimizerKind::kSgd) {
    at::_fused_sgd_(p, gradients, first_.defined() ? slice(first_) : std::vector<at::Tensor>{},
                    weight_decay_, options_.momentum, learning_rate, /*dampening=*/0,
                    options_.nesterov, /*maximize=*/false, /*is_first_step=*/false);
    return;
  }

  // The operators read the step count for the bias corrections 1 - beta^t and leave it unchanged:
  // begin_step() has increased it once, although a step consists of several slices.
  const std::vector<at::Tensor> steps{steps_[i]};
  if (options_.kind == OptimizerKind::kAdamW) {
    at::_fused_adamw_(p, gradients, slice(first_), slice(second_), {}, steps, learning_rate,
                      options_.beta1, options_.beta2, weight_decay_, options_.epsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
  } else {
    at::_fused_adam_(p, gradients, slice(first_), slice(second_), {}, steps, learning_rate,
                     options_.beta1, options_.beta2, weight_decay_, options_.epsilon,
                     /*amsgrad=*/false, /*maximize=*/false);
  }
}

bool Optimizer::one_pass(at::Tensor& velocity, at::Tensor& weight, const at::Tensor& dy,
                         const at::Tensor& x, int64_t first, double learning_rate) const {
  // The kernel is written for f32 in host memory; larger batches are faster as a product of their
  // own.
  const auto fits = [](const at::Tensor& tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.stride(1) == 1;
  };
  if (!fits(weight) || !fits(dy) || !fits(x) || x.size(0) > kOnePassRows) return false;

  // The kernel walks rows of dy and x with their strides: dy is a range of columns, not copied.
  const kernels::LinearBlock block{.weight = weight.data_ptr<float>(),
                                   .velocity = velocity.data_ptr<float>(),
                                   .dy = dy.const_data_ptr<float>() + first,
                                   .dy_stride = dy.stride(0),
                                   .x = x.const_data_ptr<float>(),
                                   .x_stride = x.stride(0),
                                   .batch = x.size(0),
                                   .rows = weight.size(0),
                                   .columns = weight.size(1)};
  return kernels::momentum_linear(block, static_cast<float>(options_.momentum),
                                  static_cast<float>(weight_decay_),
                                  static_cast<float>(learning_rate));
}

void Optimizer::update_linear(int64_t i, const ParameterEntry& entry, int64_t first, int64_t count,
                              const at::Tensor& dy, const at::Tensor& x, double learning_rate) {
  const auto columns = dy.narrow(1, first, count).t();

  // v = momentum v + dy' x + wd p;  p -= lr v. The product is added to the momentum in place.
  if (options_.kind == OptimizerKind::kSgd && first_.defined() && !options_.nesterov) {
    const auto rows = [&](const at::Tensor& stack) {
      return parameter(stack[i], entry).narrow(0, first, count);
    };

    auto velocity = rows(first_), weight = rows(values_);
    if (one_pass(velocity, weight, dy, x, first, learning_rate)) return;
    at::addmm_out(velocity, velocity, columns, x, options_.momentum, 1);
    if (weight_decay_ != 0) velocity.add_(weight, weight_decay_);
    weight.add_(velocity, -learning_rate);
    return;
  }

  // The other rules use the gradient more than once, so its block is computed first.
  update(i, entry.offset + first * x.size(1), at::mm(columns, x), learning_rate);
}

std::vector<std::pair<std::string, at::Tensor>> Optimizer::state() const {
  if (options_.kind != OptimizerKind::kSgd) return {{"exp_avg", first_}, {"exp_avg_sq", second_}};
  if (first_.defined()) return {{"momentum", first_}};
  return {};
}

void Optimizer::update_stack(const at::Tensor& slots, const at::Tensor& gradient,
                             const at::Tensor& rates, const at::Tensor& scales) {
  // A negative scale marks a member that is skipped: its step is not counted either.
  steps_.index_add_(0, slots, scales.ge(0).to(at::kFloat));

  kernels::UpdateOptions options{.weight_decay = weight_decay_,
                                 .momentum = options_.momentum,
                                 .beta1 = options_.beta1,
                                 .beta2 = options_.beta2,
                                 .epsilon = options_.epsilon};
  options.rule = update_rule(options_);
  kernels::update_members(options, values_, first_, second_, steps_, slots, gradient, rates,
                          scales);
}

std::vector<int64_t> Optimizer::steps() const {
  const auto counts = steps_.cpu().to(at::kLong);
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + counts.numel()};
}

void Optimizer::set_steps(const std::vector<int64_t>& steps) {
  DISSENT_CHECK(static_cast<int64_t>(steps.size()) == steps_.size(0), kInternal,
                "step counts of the optimizer: expected {}, found {}", steps_.size(0),
                steps.size());
  steps_.copy_(at::tensor(steps, at::kLong));
}

}  // namespace dissent
