#pragma once
#include <string>

#include "core/enum_names.hpp"

// The folder of a training's run (docs/formats.md): names of its files, and the state of the run
// that two of them tell. classes.txt, which is also a file of image folders, is in
// data/datasets/folder_list.hpp.
namespace dissent {

inline constexpr const char* kCheckpointFile = "checkpoint.h5";  ///< resumed from, and the result
inline constexpr const char* kBestFile = "best.h5";              ///< of the best epoch
inline constexpr const char* kConfigFile = "config.toml";        ///< the whole configuration
inline constexpr const char* kProvenanceFile = "provenance.json";
inline constexpr const char* kTrainLogFile = "train.csv";  ///< columns: storage/train_log.hpp
inline constexpr const char* kProgressFile = "progress.json";
inline constexpr const char* kTraceFile = "trace.h5";  ///< with --trace

inline constexpr const char* kHeartbeatPrefix = "heartbeat.";
/// The heartbeat file of a rank of the run.
inline std::string heartbeat_name(int rank) { return kHeartbeatPrefix + std::to_string(rank); }

/// The key `state` of provenance.json.
enum class RunStatus {
  kRunning,   ///< also after a start that was killed
  kFinished,  ///< all epochs are trained
  kStopped,   ///< by a signal; the run can be resumed
  kFailed,    ///< the key `error` has the message
};
inline constexpr EnumName<RunStatus> kRunStatusNames[] = {{RunStatus::kRunning, "running"},
                                                          {RunStatus::kFinished, "finished"},
                                                          {RunStatus::kStopped, "stopped"},
                                                          {RunStatus::kFailed, "failed"}};

}  // namespace dissent
