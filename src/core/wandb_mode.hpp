#pragma once
#include "core/enum_names.hpp"

namespace dissent {

/// Live logging to Weights & Biases: runtime.wandb, `--wandb` of train and jobs (docs/logging.md).
enum class WandbMode { kAuto, kOff, kOnline, kOffline };
inline constexpr EnumName<WandbMode> kWandbModes[] = {{WandbMode::kAuto, "auto"},
                                                      {WandbMode::kOff, "off"},
                                                      {WandbMode::kOnline, "online"},
                                                      {WandbMode::kOffline, "offline"}};

}  // namespace dissent
