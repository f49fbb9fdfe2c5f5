#pragma once
#include <memory>
#include <string>

#include "evaluate/subjects/ensemble_file.hpp"

namespace dissent {

/// Reads FOLDER/ensemble.json, as written by `dissent export` and scripts/convert_sed_models.py.
///
/// key         | type            |
/// ------------|-----------------|-----------------------------------------------------------------
/// format      | string          | "dissent ensemble"
/// version     | integer         | 1
/// files       | list of strings | one file of weights per member, or one for a multihead network:
///             |                 | safetensors, or a state dict of torch.save; inside the folder
/// checksums   | list of strings | XXH3_64 of each file, or missing
/// model       | string          | ensemble.model of the configuration
/// classes     | integer         | C
/// dim, hidden | integer or null | heads on features: D, and the width of the hidden layer
/// image_size  | integer or null | networks on images: edge of the images in pixels
/// heads       | integer or null | multihead networks: number of members
/// transform   | string or null  | transform of the images in the training
/// method      | string          | column of result rows
/// run, experiment, config_hash, training_hash | string or null | the same; may be missing
/// seed        | integer or null | the same
///
/// Other keys are ignored. Error::kData naming file and key, what was expected and what was found,
/// for text that is not JSON, a missing key, a key of another type and an unknown model; naming
/// file and tensor for weights that do not fit the model, and the file of a wrong checksum. Not
/// collective.
LoadedEnsemble load_ensemble_folder(const std::string& folder);

/// Whether `path` is a folder with an ensemble.json.
bool is_ensemble_folder(const std::string& path);

}  // namespace dissent
