#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "ensemble/objective.hpp"
#include "train/heads/device_graph.hpp"
#include "train/heads/logit_exchange.hpp"
#include "train/heads/wave_stepper.hpp"
#include "train/update/optimizer.hpp"

namespace dissent {

struct DeviceStepperOptions {
  StepperOptions step = {};
  at::ScalarType compute = at::kFloat;  ///< dtype of the products, f32 or bf16; parameters,
                                        ///< optimiser state, logits and losses stay f32
  bool graphs = true;  ///< record waves of one shape as CUDA graphs, if the run has one rank
};

/// Computes waves on the members' device (a GPU; the CPU in tests): the pairs (step, active member)
/// of a wave are one batched product per layer, and the update is one kernel over their members. On
/// one rank nothing is read from the device in a step, so the results are returned later, by
/// late_results(). The results agree with those of HostStepper up to rounding: products and sums
/// have another order. Ranks exchange over NCCL on GPUs.
/// With on_nan = "error" a gradient that is not finite is detected by the loss of this step or of
/// the member's next one.
class DeviceStepper final : public WaveStepper {
 public:
  /// Collective over grid.run. All arguments have to outlive this object.
  DeviceStepper(HeadMembers& members, Optimizer& optimizer, const ObjectiveOptions& objective,
                const DeviceStepperOptions& options, Grid& grid);
  ~DeviceStepper() override;

  std::vector<StepResult> run(const std::vector<StepInput>& wave, int64_t updating_epoch,
                              bool update, Request request = Request::kNone) override;
  std::vector<LateResult> late_results(bool all) override;
  at::Tensor probe(const std::vector<StepInput>& inputs, int64_t updating_epoch) override;
  Request agreed() const override { return agreed_; }
  /// How often waves were recorded as graphs, replayed, or could not be recorded.
  struct GraphCounts {
    int64_t recorded = 0, replayed = 0, refused = 0;
  };
  const GraphCounts& graph_counts() const { return graph_counts_; }
  const std::optional<Error>& failure() const override { return failure_; }
  bool takes_part(const Step& step) const override { return holds_any(members_, step); }

 private:
  struct Work;
  /// Decides the shapes of a piece of work and what it computes.
  struct Shape {
    int64_t steps, pairs, rows, unlabelled, updating_epoch;
    uint64_t terms_on;  ///< losses that are on, the same in all of its steps
    bool update;
    auto operator<=>(const Shape&) const = default;
  };
  struct Pending {
    std::vector<LateResult> results;
    int64_t epoch;
    double learning_rate;  ///< of the first of them
    at::Tensor values;     ///< [steps, 2 + terms] f64 on the device
  };
  void run_same_shape(const std::vector<StepInput>& wave, int64_t updating_epoch, bool update,
                      Request request);
  void run_with_exchange(Work& work, const std::vector<StepInput>& wave, Request request);
  void run_or_replay(Work& work);
  Work& work_of(const Shape& shape);
  void copy_inputs(Work& work, const std::vector<const StepInput*>& steps,
                   const std::vector<LocalPair>& pairs);
  void copy_pair_numbers(Work& work, const std::vector<const StepInput*>& steps,
                         const std::vector<LocalPair>& pairs);
  at::Tensor forward(Work& work, at::Tensor& flats, std::vector<at::Tensor>& saved) const;
  void losses_and_update(Work& work, const at::Tensor& logits, const at::Tensor& flats,
                         const std::vector<at::Tensor>& saved, const std::vector<StepInput>& wave);
  at::Tensor compute_losses(Work& work, const at::Tensor& logits) const;
  at::Tensor backward(Work& work, at::Tensor dlogits, const at::Tensor& flats,
                      const std::vector<at::Tensor>& saved);
  at::Tensor gradient_norms(Work& work, const std::vector<StepInput>& wave);
  void set_scales(Work& work, const std::vector<StepInput>& wave);
  at::Tensor gradient(const Shape& shape);
  std::string bad_weights() const;
  void check_loss(const Pending& pending, const LateResult& late);
  StepInput on_device(const StepInput& input) const;
  bool single_rank() const { return grid_.run->size() == 1; }
  /// On one rank the member that A2D draws comes first in its step: its place is part of recorded
  /// work and so has to be the same in every step.
  bool drawn_first() const { return single_rank() && uses_drawn_member(objective_); }
  Communicator& run_ranks() { return device_run_ ? *device_run_ : *grid_.run; }
  Communicator& data_ranks() { return device_data_ ? *device_data_ : *grid_.data; }

  HeadMembers& members_;
  Optimizer& optimizer_;
  ObjectiveOptions objective_;
  DeviceStepperOptions options_;
  Grid& grid_;
  std::unique_ptr<Communicator> device_run_, device_data_;  ///< over device memory; none on the CPU
  std::unique_ptr<GraphPool> pool_;                         ///< outlives the graphs of works_
  std::map<Shape, std::unique_ptr<Work>> works_;
  at::Tensor gradients_;  ///< [local members, P]: a wave has each member at most once; the padding
                          ///< between the entries stays 0
  GraphCounts graph_counts_;
  std::vector<Pending> pending_;
  Request agreed_ = Request::kNone;
  std::optional<Error> failure_;
};

}  // namespace dissent
