#pragma once
#include <memory>
#include <string>

#include "models/head.hpp"
#include "train/options.hpp"

namespace dissent {

/// A trained ensemble of heads, all members in this rank's memory.
struct LoadedEnsemble {
  std::string path;        ///< of the checkpoint
  std::string run;         ///< name of its folder
  std::string config_hash;
  TrainConfig config;
  int64_t seed = 0;
  int64_t dim = 0;
  int64_t classes = 0;
  std::shared_ptr<const Head> head;
  at::Tensor members;      ///< [M, P] f32
  at::Tensor soup;         ///< [P]: mean of the members
  /// What the run was trained with: "a2d+cross_entropy".
  std::string method() const;
};

/// From a run folder (its checkpoint.h5) or a checkpoint file. Error::kData naming file and member if the weights do not fit the configuration in it.
LoadedEnsemble load_ensemble(const std::string& path);

}  // namespace dissent
