#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "comm/communicator.hpp"
#include "report/live_log.hpp"
#include "train/config/common_config.hpp"
#include "train/run/epoch_record.hpp"

namespace dissent::cli {

/// The overrides of a training's command line: those that `dissent jobs --wandb, --tensorboard`
/// hand down (DISSENT_WANDB, DISSENT_TENSORBOARD), --set, then --wandb and --tensorboard.
std::vector<std::string> train_overrides(const CommandLine& line);

/// What a training tells Weights & Biases and TensorBoard while it runs.
class Live {
 public:
  /// Rank 0 of the world decides, for all. Error::kUsage, agreed, where W&B is asked for by name
  /// and something is missing. Collective.
  Live(Communicator& world, const RuntimeOptions& options);
  /// A run begins; its first rank calls this once its folder holds provenance.json. resumed: from a
  /// checkpoint; anew: whatever is there belongs to another run. Sets context.after_epoch.
  void begin(RunContext& context, bool resumed, bool anew);
  /// Waits for what is still being sent, for as long as the configuration says. Last thing of a
  /// training: others may wait for this rank in MPI_Finalize only.
  void finish(bool stopped) noexcept;

 private:
  report::WandbPlan plan_;
  bool tensorboard_;
  double finish_s_;
  std::vector<std::shared_ptr<report::WandbProcess>> processes_;
};

}  // namespace dissent::cli
