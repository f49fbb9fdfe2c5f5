#pragma once
#include <ATen/core/Tensor.h>
#include <dissent/losses/dice_discriminator.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/options.hpp"

namespace dissent {

/// [discriminator]: how DICE's discriminator is trained.
struct DiscriminatorOptions {
  double learning_rate = 1e-4;
  double momentum = 0.9;
  std::optional<double> weight_decay = {};  ///< by default that of the members
};
const TableSpec& discriminator_table();

/// The discriminator of DICE with its optimiser, replicated on every rank. torch.optim.RMSprop
/// (alpha 0.99, eps 1e-8):
///   g += wd p;  s = alpha s + (1 - alpha) g^2;  v = momentum v + g / (sqrt(s) + eps);  p -= lr v
/// Ref: sdde openood/networks/discriminator.py, openood/trainers/deed_trainer.py; cases
/// sdde_losses.h5 step_dice
class Discriminator {
 public:
  /// weight_decay: of the members, used if the options have none. clip_norm: largest norm of the
  /// discriminator's gradient; 0: no clipping.
  Discriminator(std::vector<at::Tensor> parameters, const losses::DiceOptions& dice,
                const DiscriminatorOptions& options, double weight_decay, double clip_norm);
  const std::vector<at::Tensor>& parameters() const { return parameters_; }
  /// Adds share times the gradient of the discriminator's loss on features [M, B, D] of all members
  /// (constants) and labels [B]. Returns the loss in nats.
  double accumulate(const at::Tensor& features, const at::Tensor& labels, double share);
  /// One optimiser step with the accumulated gradient; no effect if there is none.
  void update();
  /// Discards the accumulated gradient.
  void discard() { gradients_.clear(); }
  /// "parameters", "square_avg", "momentum", each a list in the order of parameters(). A checkpoint
  /// saves these tensors and restores them in place.
  std::vector<std::pair<std::string, std::vector<at::Tensor>>> state() const;

 private:
  std::vector<at::Tensor> parameters_, square_avg_, momentum_, gradients_;
  losses::DiceOptions dice_;
  DiscriminatorOptions options_;
  double weight_decay_, clip_norm_;
};

}  // namespace dissent
