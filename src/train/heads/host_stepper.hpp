#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "ensemble/objective.hpp"
#include "train/heads/logit_exchange.hpp"
#include "train/heads/wave_stepper.hpp"
#include "train/update/optimizer.hpp"

namespace dissent {

/// Tensors of the logits' shape that the losses of a step and their derivative hold at a time, as
/// `dissent plan` counts them.
inline constexpr int64_t kLossTemporaries = 6;

/// Computes waves on the host, with one task per member.
/// Per wave: forward pass of the local pairs (step, member); one gather of the logits over the
/// run's ranks; the objective of each step on its full logits [A, B, C], computed by every rank
/// that takes part; backward pass and update of the local members.
/// Logits of other ranks are constants of the chain rule: the gradient is exact without a
/// collective in the backward pass. Weight gradients of a split batch are summed over the data
/// ranks.
/// The bits do not depend on the member split, on the number of threads or on how steps are grouped
/// into waves.
class HostStepper final : public WaveStepper {
 public:
  /// All arguments have to outlive this object. Not collective.
  HostStepper(HeadMembers& members, Optimizer& optimizer, const ObjectiveOptions& objective,
              const StepperOptions& options, Grid& grid);

  std::vector<StepResult> run(const std::vector<StepInput>& wave, int64_t updating_epoch,
                              bool update, Request request = Request::kNone) override;
  std::vector<LateResult> late_results(bool) override { return {}; }
  at::Tensor probe(const std::vector<StepInput>& wave, int64_t updating_epoch) override;
  Request agreed() const override { return agreed_; }
  const std::optional<Error>& failure() const override { return failure_; }
  bool takes_part(const Step& step) const override { return holds_any(members_, step); }

 private:
  struct Pair;
  struct WeightBlock;
  std::vector<Pair> forward(const std::vector<StepInput>& wave) const;
  /// Loss of each step, and with update_members dL/dz [A, B + U, C]; nothing for steps of other
  /// ranks.
  std::vector<StepResult> losses_and_gradients(const std::vector<StepInput>& wave,
                                               const std::vector<at::Tensor>& logits,
                                               int64_t updating_epoch, bool update_members,
                                               std::vector<at::Tensor>& gradients) const;
  StepResult differentiate(const StepInput& input, const at::Tensor& logits, int64_t updating_epoch,
                           bool update, at::Tensor& gradient) const;
  void check_losses(const std::vector<StepInput>& wave, const std::vector<at::Tensor>& logits,
                    const std::vector<StepResult>& results);
  void backward(const std::vector<StepInput>& wave, const std::vector<at::Tensor>& gradients,
                std::vector<Pair>& pairs) const;
  /// Computes the whole gradient where it is needed: for all pairs with clipping or a split batch,
  /// else for those that might not be finite. The latter depends on the pair alone, so that the
  /// bits do not depend on the split.
  void flatten_gradients(std::vector<Pair>& pairs);
  static at::Tensor squared_norms(const std::vector<Pair>& pairs);
  /// Sets scale (clipping) and skip of each pair, and fails on a gradient that is not finite.
  void scale_and_check(const std::vector<StepInput>& wave, std::vector<Pair>& pairs,
                       std::vector<StepResult>& results);
  void update(const std::vector<StepInput>& wave, std::vector<Pair>& pairs);
  std::vector<WeightBlock> weight_blocks_of(const std::vector<Pair>& pairs) const;
  void update_block(const WeightBlock& block, double learning_rate);
  void update_vectors(const Pair& pair, double learning_rate);
  void fail(std::string message);
  void fail_gradient(const std::vector<StepInput>& wave, const Pair& pair, double square,
                     const std::vector<StepResult>& results);

  HeadMembers& members_;
  Optimizer& optimizer_;
  ObjectiveOptions objective_;
  StepperOptions options_;
  Grid& grid_;
  Request agreed_ = Request::kNone;
  std::optional<Error> failure_;
};

}  // namespace dissent
