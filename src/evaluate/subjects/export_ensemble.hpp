#pragma once
#include <string>
#include <vector>

namespace dissent {

/// Names of weights in an exported file: as in the checkpoint (names of torchvision and OpenOOD for
/// ResNets and LeNet, of the DeiT repository for DeiT-3, of SED for the block head), or as in timm
/// ("gamma_1" becomes "ls1.gamma").
enum class ExportNames { kOwn, kTimm };

/// Writes the members of a trained ensemble in a format that other programs read:
/// FOLDER/member-0.safetensors, ... with the parameters and buffers of one member each
/// (num_batches_tracked as i64), in the dtypes of the checkpoint, and FOLDER/ensemble.json with
///   run, experiment, method, dim, hidden, image_size, heads (ensemble_folder.hpp; read by
///       `evaluate`, whose result rows are those of the run),
///   members, files, weights ("average" if the training computed a moving average, which evaluate
///       and cache also read; else "members"), model, classes,
///   transform (null if the configuration has none), seed, epoch, config_hash, configuration
///       (complete).
/// Other files in FOLDER are not changed, nor is an earlier export until all files of the new one
/// are written (to FOLDER/.unfinished). Returns the paths. One member is in memory at a time. Not
/// collective.
/// Error::kData: no checkpoint, a checkpoint without members, different numbers of members in
/// members/ and buffers/.
std::vector<std::string> export_ensemble(const std::string& run, const std::string& folder,
                                         ExportNames names);

}  // namespace dissent
