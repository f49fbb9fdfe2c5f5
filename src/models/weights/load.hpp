#pragma once
#include <string>
#include <vector>

#include "models/networks/image_network.hpp"
#include "models/weights/state_dict.hpp"

namespace dissent {

struct LoadOptions {
  std::string prefix;  ///< read only names with this prefix, and remove it: "nets.2." is one member
                       ///< of an OpenOOD ensemble
  std::string prefix_key = "prefix";  ///< the configuration key to suggest in messages
  bool classifier = true;  ///< false: classifier parameters ("fc.", "head.") keep their values,
                           ///< whatever the file contains
};

/// Copies a state dict into a network's parameters flat [P] and buffers (if any) flat [Q] (f32 or
/// f64, host), converting from any dtype. Accepts the names of this network, of OpenOOD,
/// torchvision, the DeiT repository and timm ("ls1.gamma" is "gamma_1", "downsample" is
/// "shortcut"), optionally with the prefixes "module." (DataParallel) and "_orig_mod."
/// (torch.compile). num_batches_tracked may be missing; a network without classifier accepts files
/// with one. Error::kData with `source` and every misfit: "NAME is [1000, 768] in the file, [10,
/// 768] in this network", missing names, names that the network does not have; with the prefix that
/// would make most names fit, or a name from the file. Nothing is copied then.
void load_weights(const ImageNetwork& network, at::Tensor flat, at::Tensor buffers,
                  const StateDict& weights, const LoadOptions& options, const std::string& source);

/// The inverse: copies of all parameters and buffers with the network's own names, or timm's
/// ("gamma_1" becomes "ls1.gamma"). num_batches_tracked is i64.
enum class Naming { kOwn, kTimm };
StateDict state_dict(const ImageNetwork& network, const at::Tensor& flat, const at::Tensor& buffers,
                     Naming naming = Naming::kOwn);

}  // namespace dissent
