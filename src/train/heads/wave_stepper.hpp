#pragma once
#include <ATen/core/Tensor.h>
#include <dissent/error.hpp>

#include <cstdint>
#include <optional>
#include <vector>

#include "train/heads/head_plan.hpp"
#include "train/run/run_state.hpp"

namespace dissent {

/// A step and its data on this rank.
struct StepInput {
  const Step* step = nullptr;
  double learning_rate = 0;
  at::Tensor x;  ///< [b + u, D] this data part's rows of the batch, labelled ones first; undefined
                 ///< if the rank holds no active member
  at::Tensor labels;  ///< [B] i64, of the whole batch
};

/// Result of a step; `known` only on the ranks that hold one of its active members.
struct StepResult {
  bool known = false;
  bool skipped = false;  ///< no update: not finite, and on_nan = "skip_step"
  double total = 0;
  std::vector<double> losses = {};  ///< value of each term of the objective, without its weight
};

/// A result that arrives after its wave.
struct LateResult {
  int64_t step = 0;                  ///< position in the epoch
  std::vector<int64_t> active = {};  ///< active members of the step
  StepResult result = {};
};

struct StepperOptions {
  double clip_norm = 0;  ///< largest norm of the gradient over all active members; 0: no clipping
  bool skip_not_finite = false;  ///< else a loss or gradient that is not finite is a failure
};

/// Computes waves of steps (waves.hpp) for the members and the part of the batch that this rank
/// holds: HostStepper on the host, DeviceStepper on a GPU.
class WaveStepper {
 public:
  virtual ~WaveStepper() = default;
  /// Collective over the run. updating_epoch: number of updating epochs before this one. With
  /// update = false only the losses are computed (frozen first epoch). A result that is not `known`
  /// yet on a rank that takes part is returned by late_results().
  virtual std::vector<StepResult> run(const std::vector<StepInput>& wave, int64_t updating_epoch,
                                      bool update, Request request = Request::kNone) = 0;
  /// Results of earlier waves that have arrived; with `all`, waits for the rest.
  virtual std::vector<LateResult> late_results(bool all) = 0;
  /// Norms and inner product of the gradients of base and diversity losses for each local member in
  /// these steps, before any update (gradient_probe.hpp): [local pairs, 3] f64 on the host.
  /// Collective over the run.
  virtual at::Tensor probe(const std::vector<StepInput>& wave, int64_t updating_epoch) = 0;
  /// The request of the last wave that all ranks of the run agree on.
  virtual Request agreed() const = 0;
  /// A loss or gradient that is not finite, if this rank has found one (Error::kData naming epoch
  /// and step). It is not thrown because other ranks may not have found it: send kFail with the
  /// next wave, then throw on all ranks.
  virtual const std::optional<Error>& failure() const = 0;
  /// True if this rank has to provide x for the step.
  virtual bool takes_part(const Step& step) const = 0;
};

}  // namespace dissent
