#pragma once
#include <map>
#include <memory>

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
  bool graphs = true;  ///< record waves of one shape as CUDA graphs, where the run has one rank
};

/// Waves on the members' device (a GPU; the CPU in tests): the pairs (step, active member) of a
/// wave are one batched product a layer, the update is one kernel over their members. Nothing is
/// read back from the device in a step of a run on one rank, so results come late (late_results()).
/// The same numbers as HostStepper to rounding: products and sums have other orders. Ranks exchange
/// over NCCL on GPUs.
/// Of gradients that are not finite, on_nan = "error" notices those that show in the loss of this
/// step or of the member's next one.
class DeviceStepper final : public WaveStepper {
 public:
  /// Collective over grid.run. All arguments have to outlive this object.
  DeviceStepper(MemberStack& members, Optimizer& optimizer, const ObjectiveOptions& objective,
                const DeviceStepperOptions& options, Grid& grid);
  ~DeviceStepper() override;

  std::vector<StepResult> run(const std::vector<StepInput>& wave, int64_t epoch_of_loss,
                              bool update, Request request = Request::kNone) override;
  std::vector<LateResult> late_results(bool all) override;
  at::Tensor probe(const std::vector<StepInput>& inputs, int64_t epoch_of_loss) override;
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
  /// Everything that decides the shapes of a piece of work, and what it does.
  struct Shape {
    int64_t steps, pairs, rows, unlabelled, epoch_of_loss;
    uint64_t terms_on;  ///< losses that are on in all of its steps
    bool update;
    auto operator<=>(const Shape&) const = default;
  };
  void run_alike(const std::vector<StepInput>& wave, int64_t epoch_of_loss, bool update,
                 Request request);
  Work& work_of(const Shape& shape);
  void fill(Work& work, const std::vector<const StepInput*>& mine,
            const std::vector<LocalPair>& pairs);
  at::Tensor forward(Work& work, at::Tensor& flats, std::vector<at::Tensor>& saved) const;
  void learn(Work& work, const at::Tensor& logits, const at::Tensor& flats,
             const std::vector<at::Tensor>& saved, const std::vector<StepInput>& wave);
  void set_scales(Work& work, const std::vector<StepInput>& wave);
  void run_alone(Work& work);
  at::Tensor gradient(const Shape& shape);
  std::string bad_weights() const;
  StepInput on_device(const StepInput& input) const;
  bool alone() const { return grid_.run->size() == 1; }
  /// On one rank the member that A2D drew comes first in its step: recorded work can only hold a
  /// fixed place.
  bool drawn_first() const { return alone() && uses_drawn_member(objective_); }

  MemberStack& members_;
  Optimizer& optimizer_;
  ObjectiveOptions objective_;
  DeviceStepperOptions options_;
  Grid& grid_;
  std::unique_ptr<Communicator> device_run_, device_data_;  ///< over device memory; none on the CPU
  std::unique_ptr<GraphPool> pool_;                         ///< outlives the graphs of works_
  std::map<Shape, std::unique_ptr<Work>> works_;
  at::Tensor gradients_;  ///< [local members, P]: a wave has each member at most once; what lies
                          ///< between the entries stays 0
  GraphCounts graph_counts_;
  struct Pending {
    std::vector<LateResult> results;
    int64_t epoch;
    double learning_rate;  ///< of the first of them
    at::Tensor figures;    ///< [steps, 2 + terms] f64 on the device
  };
  std::vector<Pending> pending_;
  Request agreed_ = Request::kNone;
  std::optional<Error> failure_;
};

}  // namespace dissent
