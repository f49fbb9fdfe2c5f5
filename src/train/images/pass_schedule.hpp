#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dissent {

/// One pass of one network over a batch.
enum class PassKind {
  kTrain,         ///< training-mode forward pass on the network's own batch, base losses, and
                  ///< their backward pass
  kTrainForward,  ///< the same without the backward pass, which is kTrainBackward, later
  kTrainBackward,
  kSharedForward,  ///< training-mode forward pass on the batch that all losses read; the graph is
                   ///< kept, and kEnsembleBackward differentiates base and ensemble losses at once
  kEvaluate,       ///< evaluation-mode forward pass on the batch of the ensemble losses
  kMaps,           ///< saliency maps and input gradients on that batch: derivatives of one network
  kEnsembleBackward,  ///< from the derivative of the ensemble losses back to the parameters
};

/// Passes of one network that one thread runs, in this order.
struct NetworkTask {
  int64_t network = 0;
  std::vector<PassKind> passes;
};

/// Tasks between two points where all threads meet.
struct PassStage {
  std::vector<NetworkTask> tasks = {};
  bool in_order = false;  ///< one task after the other: their passes exchange statistics with other
                          ///< ranks, which have to do so in the same order
};

/// The passes of a batch. After `before` come the labels that the ensemble predicts (for an
/// unlabelled batch), then `maps`, then the exchange between ranks and the ensemble losses, then
/// `after`.
struct PassSchedule {
  PassStage before, maps, after;
  /// One line per stage: "before: 0 train evaluate maps | 1 train evaluate maps".
  std::string text() const;
};

/// What decides the schedule.
struct ScheduleInput {
  int64_t networks = 1;  ///< of this rank
  int64_t threads = 1;
  bool on_host = true;                   ///< false: a GPU, where passes run one after the other
  bool ensemble_losses = false;          ///< some are on in this batch
  bool common_batch = false;             ///< they read a batch of their own
  bool labelled = true;                  ///< that batch has labels
  bool running_statistics = false;       ///< the networks have BatchNorm
  bool synchronised_statistics = false;  ///< training passes exchange them between ranks
};

/// The order that keeps threads busy without changing a result:
/// - Running statistics move in the training pass and are read by the evaluation pass, which
///   therefore follows it. Without running statistics the two are independent, and half of the
///   training passes move behind the exchange: as many tasks as possible between two points where
///   threads meet.
/// - With running statistics, `networks` is cut into complete rounds of `threads`. The backward
///   passes of the last, incomplete round fill the gaps of the stage behind the exchange.
PassSchedule schedule_passes(const ScheduleInput& input);

}  // namespace dissent
