#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent::report {

/// What the user asked of Weights & Biases: [runtime] wandb, wandb_project, wandb_entity.
struct WandbWish {
  std::string mode = "auto";  ///< auto, off, online, offline
  std::string project, entity;
};

/// How the runs of a training are followed by W&B's own client; made once, by one rank.
struct WandbPlan {
  bool on = false;
  std::vector<std::string> command;      ///< Python, scripts/send_to_wandb and its options
  std::vector<std::string> environment;  ///< WANDB_*: other nodes may not have them
  std::string note;                      ///< why it is off although the environment asks for it
  std::string to_text() const;           ///< for other ranks
  static WandbPlan from_text(const std::string& text);
};

/// Decides by the wish and the environment, and looks for a Python that has the client. "auto" is
/// what W&B's own variables say: WANDB_MODE (online, offline; disabled is off), else online where
/// WANDB_API_KEY is set, else off; what is missing is said in `note`. With "online" and "offline"
/// what is missing is Error::kUsage. Python: DISSENT_PYTHON alone where it is set, else the first
/// that has the client of VIRTUAL_ENV, CONDA_PREFIX, .venv-wandb (scripts/setup) and .venv of the
/// source tree, python3 in PATH. Waits for these to start: some 50 ms each.
WandbPlan plan_wandb(const WandbWish& wish);

/// A process that follows one run's folder (scripts/send_to_wandb --follow): no child of a fork
/// (posix_spawn: the memory, files and devices of the rank stay its own), of a session of its own,
/// so that a launcher's signals do not reach it. What it prints goes to <folder>/wandb.log.
/// Nothing here throws or waits, but finish(): each problem is one warning.
class WandbProcess {
 public:
  /// anew: the run is trained anew, so it is another one at W&B too.
  WandbProcess(const WandbPlan& plan, const std::string& folder, bool anew) noexcept;
  /// Says where the run is to be seen once that is known, and once that the process has ended too
  /// early. Called after each epoch.
  void look() noexcept;
  /// Waits until the process has ended, until at most `deadline` (steady clock, seconds), and says
  /// what came of it. Then it is left to itself.
  void finish(double deadline) noexcept;

 private:
  bool ended() noexcept;
  void report_end() noexcept;
  std::string folder_;
  pid_t process_ = -1;  ///< -1: none, or reported
  int code_ = 0;
  bool shown_ = false, warned_ = false;
};

/// Seconds of the steady clock.
double steady_s();

}  // namespace dissent::report
