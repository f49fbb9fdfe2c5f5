#pragma once
#include <memory>
#include <string>

#include "evaluate/ensemble_file.hpp"

namespace dissent {

/// What FOLDER/ensemble.json says, as `dissent export` and scripts/convert_sed_models.py write it.
///
/// key         | type            |
/// ------------|-----------------|---------------------------------------------------------------
/// format      | string          | "dissent ensemble"
/// version     | integer         | 1
/// files       | list of strings | a file of weights a member (one of all for a multihead network):
///             |                 | safetensors, or a state dict of torch.save; below the folder
/// model       | string          | of the configuration's ensemble.model
/// classes     | integer         | C
/// dim, hidden | integer or null | heads on features: D, and the width of the hidden layer
/// image_size  | integer or null | networks on pictures: their edge in pixels
/// heads       | integer or null | multihead networks: members on the one trunk
/// transform   | string or null  | that training's pictures went through
/// run, experiment, method, config_hash, training_hash | string | of result rows; all but method
///             |                 | may be missing
/// seed        | integer         |
///
/// Other keys are not read. Error::kData naming the file, and key, expected and found: no JSON, a
/// key that is missing or of another type, a model that does not exist; naming file and tensor:
/// weights that do not fit the model.
LoadedEnsemble load_ensemble_folder(const std::string& folder);

/// Whether `path` is a folder with an ensemble.json.
bool is_ensemble_folder(const std::string& path);

}  // namespace dissent
