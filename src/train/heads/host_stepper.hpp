#pragma once
#include <ATen/core/Tensor.h>

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

/// Waves on the host: one product a member, one thread a product.
/// Per wave: forward of the local (step, member) pairs; one gather of the logits over the run's
/// ranks; the objective of each step on its full
/// [A, B, C], the same on every rank that takes part; backward and update of the local members.
/// Remote logits are constants of the product rule: the gradient is exact without a backward
/// collective. Weight gradients of a split batch are summed over the data ranks.
/// Bits do not depend on the member split, on the number of threads or on how steps are grouped
/// into waves.
class HostStepper final : public WaveStepper {
 public:
  HostStepper(MemberStack& members, Optimizer& optimizer, const ObjectiveOptions& objective,
              const StepperOptions& options, Grid& grid);

  std::vector<StepResult> run(const std::vector<StepInput>& wave, int64_t epoch_of_loss,
                              bool update, Request request = Request::kNone) override;
  std::vector<LateResult> late_results(bool) override { return {}; }
  at::Tensor probe(const std::vector<StepInput>& wave, int64_t epoch_of_loss) override;
  Request agreed() const override { return agreed_; }
  const std::optional<Error>& failure() const override { return failure_; }
  bool takes_part(const Step& step) const override { return holds_any(members_, step); }

 private:
  struct Pair;
  void forward(const std::vector<StepInput>& wave, std::vector<Pair>& pairs) const;
  StepResult differentiate(const StepInput& input, const at::Tensor& logits, int64_t epoch_of_loss,
                           bool update, at::Tensor& gradient) const;
  void backward(const std::vector<StepInput>& wave, const std::vector<at::Tensor>& gradients,
                std::vector<Pair>& pairs) const;
  /// The whole gradient of the pairs that need it: all with clipping or a split batch, else those
  /// that might not be finite (a pair's own affair, so that the bits do not depend on the split).
  void materialise(std::vector<Pair>& pairs);
  void judge(const std::vector<StepInput>& wave, std::vector<Pair>& pairs,
             std::vector<StepResult>& results);
  void update(const std::vector<StepInput>& wave, std::vector<Pair>& pairs);

  MemberStack& members_;
  Optimizer& optimizer_;
  ObjectiveOptions objective_;
  StepperOptions options_;
  Grid& grid_;
  void fail(std::string message);
  void fail_gradient(const std::vector<StepInput>& wave, const Pair& pair, double square,
                     const std::vector<StepResult>& results);
  Request agreed_ = Request::kNone;
  std::optional<Error> failure_;
};

}  // namespace dissent
