#pragma once
#include <memory>
#include <string>

#include "data/image_source.hpp"

namespace dissent {

struct DatasetSpec;

/// root/split; for the splits train and test root itself where there is no such folder. One
/// subfolder a class.
std::unique_ptr<ImageSource> open_image_folders(const DatasetSpec& spec, const std::string& root,
                                                const std::string& split);

}  // namespace dissent
