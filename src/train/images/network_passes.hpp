#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "comm/grid.hpp"
#include "ensemble/members.hpp"
#include "train/images/image_objective.hpp"
#include "train/images/loss_scale.hpp"
#include "train/images/pass_schedule.hpp"

namespace dissent {

/// What one network has computed of a batch so far, with its graph.
struct NetworkState {
  std::vector<at::Tensor> parameters;  ///< leaves of the graph, in the order of the layout
  std::vector<double> base_values;     ///< per term of the objective: its base loss on this data
                                       ///< rank's rows, times their share of the batch and the
                                       ///< batch's share of the update
  at::Tensor pending_loss;  ///< weighted base losses of kTrainForward, for kTrainBackward
  at::Tensor shared_loss;   ///< weighted base losses of kSharedForward, for kEnsembleBackward

  uint64_t sequence = 0;  ///< autograd's sequence number behind the common graph

  // On the batch that ensemble losses read.
  at::Tensor x;                ///< [b, 3, S, S]
  ImageOutput output;          ///< of the forward pass
  at::Tensor logits;           ///< [k, b, C], k members per network
  at::Tensor saliency;         ///< [k, b, h, w]
  at::Tensor input_gradients;  ///< [k, b, D]

  std::vector<at::Tensor> base_gradient;      ///< per parameter, undefined where there is none
  std::vector<at::Tensor> ensemble_gradient;  ///< the same, of kEnsembleBackward
};

/// What members exchange for ensemble losses, or the derivatives of these losses with respect to
/// it: [this rank's members, ...] each; undefined where there is none.
struct ExchangedOutputs {
  at::Tensor logits, features, saliency, input_gradients;
};

/// One batch, as the passes of all networks see it.
struct BatchContext {
  const ImageStepInput& input;
  double share;                ///< of the update's gradient: 1 / batches per update
  ActiveTerms terms;           ///< of the objective, that are on in this batch
  const ImageRows& common;     ///< rows that the ensemble losses read
  at::Tensor common_labels;    ///< [b] i64: their labels, or the predicted ones
  PassSchedule schedule;       ///< which passes run, and in which order
  ExchangedOutputs gradients;  ///< derivatives of the ensemble losses, once they are computed
};

/// The passes of single networks: forward, base losses, maps, backward. No threads and no exchange
/// between members; training passes with synchronised statistics exchange these over `batch_norm`.
class NetworkPasses {
 public:
  struct Options {
    at::ScalarType compute = at::kFloat;  ///< dtype of products: f32, or bf16 and f16 (autocast)
    Communicator* batch_norm = nullptr;   ///< ranks that share statistics; nullptr: none
  };
  NetworkPasses(ImageMembers& members, const ImageObjective& objective, const Options& options,
                const Grid& grid, const LossScale& scale)
      : members_(members), objective_(objective), options_(options), grid_(grid), scale_(scale) {}

  /// A state before the first pass, its leaves views of the network's parameters.
  NetworkState begin(int64_t network) const;
  /// Runs one pass, on any thread.
  void run_pass(PassKind pass, int64_t network, const BatchContext& batch,
                NetworkState& state) const;

 private:
  struct TrainOutput;
  void compute(PassKind pass, int64_t network, const BatchContext& batch,
               NetworkState& state) const;
  ImageOutput forward(int64_t network, const std::vector<at::Tensor>& parameters,
                      const at::Tensor& x, bool training) const;
  const ImageRows& own_rows(int64_t network, const ImageStepInput& input) const;
  TrainOutput train_forward(int64_t network, const BatchContext& batch, bool needs_image_gradient,
                            NetworkState& state) const;
  at::Tensor base_loss(int64_t network, const BatchContext& batch, const ImageRows& rows,
                       const at::Tensor& x, const at::Tensor& logits, NetworkState& state) const;
  void train_backward(const at::Tensor& loss, const BatchContext& batch, NetworkState& state) const;
  void evaluate(int64_t network, const BatchContext& batch, NetworkState& state) const;
  void compute_maps(int64_t network, const BatchContext& batch, NetworkState& state) const;
  at::Tensor small_logits_noise(int64_t network, const BatchContext& batch,
                                const at::Tensor& logits) const;
  void ensemble_backward(int64_t network, const BatchContext& batch, NetworkState& state) const;

  ImageMembers& members_;
  const ImageObjective& objective_;
  Options options_;
  const Grid& grid_;
  const LossScale& scale_;
};

}  // namespace dissent
