#pragma once
#include <memory>
#include <string>

#include "data/image_source.hpp"

namespace dissent {

struct DatasetSpec;

/// root/split; for the splits train and test root itself where there is no such folder. One
/// subfolder a class, empty ones too (options.allow_empty; else they are refused). options.classes,
/// if given, is their number, and there may be at most that many subfolders. Without options.labels
/// the images may lie anywhere below the folder and have the label -1.
std::unique_ptr<ImageSource> open_image_folders(const DatasetSpec& spec, const std::string& root,
                                                const ImageDataOptions& options);

}  // namespace dissent
