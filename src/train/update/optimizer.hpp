#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/option_table.hpp"
#include "models/head.hpp"

namespace dissent {

enum class OptimizerKind { kAdamW, kAdam, kSgd };
/// "adamw", "adam", "sgd".
std::string optimizer_name(OptimizerKind kind);

/// [optimizer]
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double learning_rate = 1e-3;
  std::optional<double> weight_decay = {};
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum = 0.9;
  bool nesterov = false;
};
/// Number of state tensors in the shape of the parameters: two moments, a momentum, or none.
int64_t optimizer_states(const OptimizerOptions& options);
const TableSpec& optimizer_table();

/// Optimiser of a stack of members [m, P]. State and step counts are per member, and only the
/// active members of a step change (no decay, no momentum, no step count for the others, as in the
/// reference). Weight decay applies to all parameters, including biases, norms and scales.
///   adamw
///       p *= 1 - lr wd;  m, v moments;  p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
///       (torch.optim.AdamW; default wd 0.01)
///   adam   the same with g += wd p first   (torch.optim.Adam; default wd 0)
///   sgd   g += wd p;  v = momentum v + g;  p -= lr v   (nesterov: p -= lr (g + momentum v))
///       (torch.optim.SGD; default wd 0)
/// Implemented by ATen's fused in-place operators. SGD with momentum is one pass over weight and
/// momentum (kernels/momentum_linear.hpp), in which the gradient never reaches memory.
class Optimizer {
 public:
  /// values [m, P] are updated in place; states and step counts start at 0. Error::kUsage for
  /// Nesterov momentum without a momentum.
  Optimizer(const OptimizerOptions& options, at::Tensor values);

  /// Starts a step of member i (position in the stack).
  void begin_step(int64_t i) { steps_[i].add_(1); }
  /// Updates elements [offset, offset + n) of member i with the gradient [n] (contiguous).
  void update(int64_t i, int64_t offset, const at::Tensor& gradient, double learning_rate);
  /// Updates the rows [first, first + count) of a linear weight of member i with gradient dy[:,
  /// rows]' x, computed here block by block.
  void update_linear(int64_t i, const ParameterEntry& entry, int64_t first, int64_t count,
                     const at::Tensor& dy, const at::Tensor& x, double learning_rate);

  /// One step of several members on a device, begin_step included. All tensors are on the device of
  /// the values.
  /// slots     [n] i64, different positions in the stack
  /// gradient  [n, P]
  /// rates     [n] f64, learning rates
  /// scales    [n] f64, factor of each gradient; negative: the member is skipped
  void update_stack(const at::Tensor& slots, const at::Tensor& gradient, const at::Tensor& rates,
                    const at::Tensor& scales);

  /// State by name ("exp_avg", "exp_avg_sq", "momentum"), each [m, P], for checkpoints.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  /// Steps taken by each member.
  std::vector<int64_t> steps() const;
  void set_steps(const std::vector<int64_t>& steps);

 private:
  /// SGD with momentum of the rows from `first` in one pass over them. Returns false and does
  /// nothing if this is not faster, or not possible.
  bool one_pass(at::Tensor& velocity, at::Tensor& weight, const at::Tensor& dy, const at::Tensor& x,
                int64_t first, double learning_rate) const;
  OptimizerOptions options_;
  double weight_decay_;
  at::Tensor values_;
  at::Tensor first_, second_;  // moments, or momentum in first_
  at::Tensor steps_;           // [m] f32, as the fused operators expect
};

}  // namespace dissent
