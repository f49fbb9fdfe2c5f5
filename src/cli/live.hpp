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

/// The overrides of a training's command line: those of `dissent jobs --wandb, --tensorboard`
/// (DISSENT_WANDB, DISSENT_TENSORBOARD), --set, then --wandb and --tensorboard.
std::vector<std::string> train_overrides(const CommandLine& line);

/// Sends a training's values to Weights & Biases and TensorBoard while it runs.
class Live {
 public:
  /// Rank 0 of the world decides for all ranks. Error::kUsage on all ranks if W&B is requested by
  /// name and the client or its key is missing. Collective.
  Live(Communicator& world, const RuntimeOptions& options);
  /// Begins a run; its first rank calls this once its folder has provenance.json. resumed: from a
  /// checkpoint; anew: existing files belong to another run. Sets context.after_epoch.
  void begin(RunContext& context, bool resumed, bool anew);
  /// Waits for data that are still being sent, for as long as the configuration allows. The last
  /// step of a training: other ranks wait for this one only in MPI_Finalize.
  void finish(bool stopped) noexcept;

 private:
  report::WandbPlan plan_;
  bool tensorboard_;
  double finish_s_;
  std::vector<std::shared_ptr<report::WandbProcess>> processes_;
};

}  // namespace dissent::cli
