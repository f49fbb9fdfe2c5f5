#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/document.hpp"
#include "evaluate/option_names.hpp"
#include "evaluate/subjects/member_networks.hpp"

namespace dissent {

/// Weights averaged over members.
struct Soup {
  ReportedPredictor predictor;  ///< kSoup or kGreedySoup
  std::vector<int64_t> members;
  std::shared_ptr<const MemberNetworks> network;  ///< one network
};

/// A trained ensemble, all members in this rank's memory. Units: its members 0 .. M - 1, then its
/// soups.
struct LoadedEnsemble {
  std::string path;        ///< of the checkpoint
  std::string run;         ///< name of its folder
  std::string experiment;  ///< name of its training
  std::string config_hash;
  std::string training_hash;  ///< of the configuration without its seed
  std::string method;         ///< losses of its training: "a2d+cross_entropy"
  int64_t seed = 0;
  std::shared_ptr<const MemberNetworks> networks;
  std::vector<Soup> soups;
  std::string transform;  ///< of the images in its training; empty for heads on features
  std::string identity;   ///< hash of configuration and weights, of caches and fitted states

  int64_t members() const { return networks->members(); }
  int64_t units() const { return members() + static_cast<int64_t>(soups.size()); }
  int64_t classes() const { return networks->classes(); }
  /// "member:3", or the soup's name.
  std::string unit_name(int64_t unit) const;
  /// The classifier of a unit (MemberNetworks::head).
  scores::LinearHead head(int64_t unit) const;
  /// Outputs of these units, in this order: members before soups. x [B, ..] as MemberNetworks.
  MemberOutputs forward(const at::Tensor& x, const std::vector<int64_t>& units,
                        bool features) const;
};

/// From a run folder (its checkpoint.h5), a checkpoint file, or a folder with an ensemble.json and
/// files of weights (ensemble_folder.hpp). Error::kData naming file and member if the weights do
/// not fit the configuration or description in it. Not collective.
LoadedEnsemble load_ensemble(const std::string& path);

/// The name of a run in result rows: the folder of its checkpoint.
std::string run_name(const std::string& checkpoint);
/// Names of a training in result rows: its experiment, and its losses, "cross_entropy+a2d_hard".
struct TrainingNames {
  std::string experiment, method;
};
TrainingNames training_names(const config::Document& document);
/// Identifies a training whatever its seed: 16 hexadecimal digits, XXH3_64 of a checkpoint's
/// configuration without the line `seeds = ...` above its first table.
std::string training_hash(const std::string& config_text);

/// Adds the mean of the weights of these members as one more unit. Error::kUsage naming the run if
/// that is not a network (heads on one trunk).
void add_soup(LoadedEnsemble& ensemble, ReportedPredictor predictor,
              const std::vector<int64_t>& members);

}  // namespace dissent
