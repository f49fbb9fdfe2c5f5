#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "ensemble/objective.hpp"
#include "train/optimizer.hpp"
#include "train/plan.hpp"

namespace dissent {

/// A step and its data on this rank.
struct StepInput {
  const Step* step = nullptr;
  double learning_rate = 0;
  at::Tensor x;       ///< [b + u, D] this data part's rows of the batch, labelled ones first; undefined if the rank holds no active member
  at::Tensor labels;  ///< [B] i64, of the whole batch
};

/// What a rank wants of the others, agreed on with the step's own exchange: the largest wish of any rank of the run.
enum class Request : int64_t { kNone = 0, kCheckpoint = 1, kStop = 2, kFail = 3 };

/// What a step gave. Known on the ranks that hold one of its active members (`known`).
struct StepResult {
  bool known = false;
  bool skipped = false;  ///< not finite, and on_nan = "skip_step"
  double total = 0, cross_entropy = 0, repulsion = 0, regulariser = 0;
};

struct StepperOptions {
  double clip_norm = 0;        ///< largest norm of the gradient over all active members; 0: no clipping
  bool skip_not_finite = false;  ///< else a loss or gradient that is not finite is a failure
};

/// Computes waves of steps (plan.hpp) for the members and the part of the batch that this rank holds.
/// Per wave: forward of the local (step, member) pairs; one gather of the logits over the run's ranks; the objective of each step on its full
/// [A, B, C], the same on every rank that takes part; backward and update of the local members. Remote logits are constants of the product rule:
/// the gradient is exact without a backward collective. Weight gradients of a split batch are summed over the data ranks.
/// Bits do not depend on the member split, on the number of threads or on how steps are grouped into waves.
class Stepper {
 public:
  Stepper(MemberStack& members, Optimizer& optimizer, const ObjectiveOptions& objective, const StepperOptions& options, Grid& grid);

  /// Collective over the run. epoch_of_loss: updating epochs so far. With update = false only the losses are computed (frozen first epoch).
  std::vector<StepResult> run(const std::vector<StepInput>& wave, int64_t epoch_of_loss, bool update, Request request = Request::kNone);
  /// The request of the last wave that all ranks of the run agree on.
  Request agreed() const { return agreed_; }

  /// A loss or gradient that is not finite, if this rank has met one (Error::kData naming epoch and step). Not thrown, since other ranks may not know
  /// of it: ask for kFail with the next wave, then raise it together.
  const std::optional<Error>& failure() const { return failure_; }

  /// True if this rank has to provide x for the step.
  bool takes_part(const Step& step) const;

 private:
  struct Pair;
  void forward(const std::vector<StepInput>& wave, std::vector<Pair>& pairs) const;
  std::vector<at::Tensor> gather_logits(const std::vector<StepInput>& wave, const std::vector<Pair>& pairs, Request request);
  StepResult differentiate(const StepInput& input, const at::Tensor& logits, int64_t epoch_of_loss, bool update, at::Tensor& gradient) const;
  void backward(const std::vector<StepInput>& wave, const std::vector<at::Tensor>& gradients, std::vector<Pair>& pairs) const;
  /// The whole gradient of the pairs that need it: all with clipping or a split batch, else those that might not be finite (a pair's own affair,
  /// so that the bits do not depend on the split).
  void materialise(std::vector<Pair>& pairs);
  void judge(const std::vector<StepInput>& wave, std::vector<Pair>& pairs, std::vector<StepResult>& results);
  void update(const std::vector<StepInput>& wave, std::vector<Pair>& pairs);

  MemberStack& members_;
  Optimizer& optimizer_;
  ObjectiveOptions objective_;
  StepperOptions options_;
  Grid& grid_;
  void fail(std::string message);
  Request agreed_ = Request::kNone;
  std::optional<Error> failure_;
};

}  // namespace dissent
