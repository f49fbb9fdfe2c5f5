#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/wandb_mode.hpp"

namespace dissent::report {

/// Settings of Weights & Biases: [runtime] wandb, wandb_project, wandb_entity.
struct WandbSettings {
  WandbMode mode = WandbMode::kAuto;
  std::string project, entity;
};

/// How W&B's own client follows the runs of a training; made once, by one rank.
struct WandbPlan {
  bool on = false;
  std::vector<std::string> command;      ///< Python, scripts/send_to_wandb and its options
  std::vector<std::string> environment;  ///< "WANDB_...=...": other nodes may not have them
  std::string note;                      ///< why it is off although the environment requests it
  std::string to_text() const;           ///< for other ranks
  static WandbPlan from_text(const std::string& text);
};

/// Decides from settings and environment, and looks for a Python with the client. "auto" follows
/// W&B's own variables: WANDB_MODE (online, offline; disabled is off), else online if WANDB_API_KEY
/// is set, else off; a missing client or key is reported in `note`. With "online" and "offline" it
/// is Error::kUsage. Python: only DISSENT_PYTHON if it is set, else the first with the client among
/// VIRTUAL_ENV, CONDA_PREFIX, .venv-wandb (scripts/setup) and .venv of the source tree, python3 in
/// PATH. Waits for these to start: some 50 ms each.
WandbPlan plan_wandb(const WandbSettings& settings);

/// A process that follows the folder of one run (scripts/send_to_wandb --follow), in its own
/// session, so that a launcher's signals do not reach it. Its output goes to <folder>/wandb.log.
/// Only finish() waits and nothing throws: each problem is one warning.
class WandbProcess {
 public:
  /// anew: the run is trained from the beginning, so it is a new run at W&B too.
  WandbProcess(const WandbPlan& plan, const std::string& folder, bool anew) noexcept;
  /// Reports the address of the run once it is known, and an early end of the process. Called after
  /// each epoch.
  void look() noexcept;
  /// Waits for the end of the process until `deadline` (steady clock, seconds), and reports how it
  /// ended. After the deadline it is left running.
  void finish(double deadline) noexcept;

 private:
  bool ended() noexcept;
  void report_end() noexcept;
  std::string folder_;
  pid_t process_ = -1;  ///< -1: none, or reported
  int code_ = 0;
  bool shown_ = false, warned_ = false;
};

}  // namespace dissent::report
