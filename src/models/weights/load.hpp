#pragma once
#include <string>
#include <vector>

#include "models/networks/image_network.hpp"
#include "models/weights/state_dict.hpp"

namespace dissent {

struct LoadOptions {
  std::string prefix;  ///< only names that begin with it, without it: "nets.2." is one member of an
                       ///< OpenOOD ensemble
  std::string prefix_key = "prefix";  ///< the key that a message proposes for it
  bool classifier = true;  ///< false: classifier parameters ("fc.", "head.") keep their values,
                           ///< whatever the file holds
};

/// Copies a state dict into a network's parameters flat [P] and, where it has any, buffers flat [Q]
/// (f32 or f64, host), converting from any dtype. Names are those of the network, of OpenOOD,
/// torchvision, the DeiT repository and timm ("ls1.gamma" is "gamma_1", "downsample" is
/// "shortcut"), perhaps behind "module." (DataParallel) and "_orig_mod." (torch.compile).
/// num_batches_tracked may be missing; a network without classifier takes files with one.
/// Error::kData naming `source` and every misfit: "NAME is [1000, 768] in the file, [10, 768] in
/// this network", names that are missing, names that the network has no use for; with the prefix
/// that would make most names fit, or a name of the file. Nothing is copied then.
void load_weights(const ImageNetwork& network, at::Tensor flat, at::Tensor buffers,
                  const StateDict& weights, const LoadOptions& options, const std::string& source);

/// The other way: copies of all parameters and buffers by the network's own names, or by timm's
/// ("gamma_1" as "ls1.gamma"). num_batches_tracked is i64.
enum class Naming { kOwn, kTimm };
StateDict state_dict(const ImageNetwork& network, const at::Tensor& flat, const at::Tensor& buffers,
                     Naming naming = Naming::kOwn);

}  // namespace dissent
