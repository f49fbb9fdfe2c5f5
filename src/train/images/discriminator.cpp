#include "train/images/discriminator.hpp"

#include <algorithm>
#include <cmath>

namespace dissent {
namespace {
constexpr double kAlpha = 0.99, kEps = 1e-8;  // defaults of torch.optim.RMSprop
}

const TableSpec& discriminator_table() {
  using T = DiscriminatorOptions;
  static const TableSpec table =
      TableOf<T>("discriminator", "DICE's discriminator, trained by RMSprop")
          .option("learning_rate", &T::learning_rate,
                  {.meaning = "learning rate, the same in all epochs", .min = 0})
          .option("momentum", &T::momentum, {.meaning = "momentum", .min = 0, .max = 1})
          .option("weight_decay", &T::weight_decay,
                  {.meaning = "weight decay; auto: that of [optimizer]", .min = 0});
  return table;
}

Discriminator::Discriminator(std::vector<at::Tensor> parameters, const losses::DiceOptions& dice,
                             const DiscriminatorOptions& options, double weight_decay,
                             double clip_norm)
    : parameters_(std::move(parameters)),
      dice_(dice),
      options_(options),
      weight_decay_(options.weight_decay.value_or(weight_decay)),
      clip_norm_(clip_norm) {
  for (const auto& parameter : parameters_) {
    square_avg_.push_back(at::zeros_like(parameter));
    momentum_.push_back(at::zeros_like(parameter));
  }
}

double Discriminator::accumulate(const at::Tensor& features, const at::Tensor& labels,
                                 double share) {
  // The features are constants: this gradient is for the discriminator alone.
  const at::AutoGradMode graph(true);
  std::vector<at::Tensor> leaves;
  for (const auto& parameter : parameters_) leaves.push_back(parameter.detach().requires_grad_());
  const auto loss = losses::dice_discriminator_loss(leaves, features.detach(), labels, dice_).value;
  const auto gradients = torch::autograd::grad({loss * share}, leaves);

  // Batches of one update are added up; update() uses and clears the sum.
  const at::NoGradGuard no_graph;
  if (gradients_.empty()) {
    gradients_ = gradients;
  } else {
    for (size_t i = 0; i < gradients.size(); ++i) gradients_[i] = gradients_[i] + gradients[i];
  }
  return loss.item<double>();
}

void Discriminator::update() {
  if (gradients_.empty()) return;

  const at::NoGradGuard no_graph;

  // Clipping as torch.nn.utils.clip_grad_norm_, over all parameters.
  double scale = 1;
  if (clip_norm_ > 0) {
    double square = 0;
    for (const auto& gradient : gradients_)
      square += gradient.to(at::kDouble).square().sum().item<double>();
    scale = std::min(1.0, clip_norm_ / (std::sqrt(square) + 1e-6));
  }

  // RMSprop with momentum; the weight decay is part of the gradient.
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto gradient = gradients_[i] * scale + weight_decay_ * parameters_[i];
    square_avg_[i].mul_(kAlpha).addcmul_(gradient, gradient, 1 - kAlpha);
    momentum_[i].mul_(options_.momentum).addcdiv_(gradient, square_avg_[i].sqrt().add_(kEps));
    parameters_[i].add_(momentum_[i], -options_.learning_rate);
  }
  gradients_.clear();
}

std::vector<std::pair<std::string, std::vector<at::Tensor>>> Discriminator::state() const {
  return {{"parameters", parameters_}, {"square_avg", square_avg_}, {"momentum", momentum_}};
}

}  // namespace dissent
