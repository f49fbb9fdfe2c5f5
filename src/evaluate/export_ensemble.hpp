#pragma once
#include <string>
#include <vector>

namespace dissent {

/// Names of weights in an exported file: those of the checkpoint (torchvision's and OpenOOD's for
/// ResNets and LeNet, the DeiT repository's for DeiT-3, SED's for the block head), or timm's
/// ("gamma_1" as "ls1.gamma").
enum class ExportNames { kOwn, kTimm };

/// Writes the members of a trained ensemble as other programs read them:
/// FOLDER/member-0.safetensors, ... with the parameters and buffers of one member each
/// (num_batches_tracked as i64), in the dtypes of the checkpoint, and FOLDER/ensemble.json with
///   run, experiment, method, dim, hidden, image_size, heads (ensemble_folder.hpp: what `evaluate`
///       reads; its rows are those of the run),
///   members, files, weights ("average" where the training kept a moving average, which evaluate
///       and cache read too; else "members"), model, classes,
///   transform (null where the configuration has none), seed, epoch, config_hash, configuration
///       (all of it).
/// Other files in FOLDER stay, and so does an earlier export until all files of the new one are
/// written (to FOLDER/.unfinished). Returns the paths. One member is in memory at a time. Not
/// collective.
/// Error::kData: no checkpoint, one without members, members/ and buffers/ of different counts.
std::vector<std::string> export_ensemble(const std::string& run, const std::string& folder,
                                         ExportNames names);

}  // namespace dissent
