#pragma once
#include <memory>
#include <string>

#include "data/image_source.hpp"
#include "data/options.hpp"

namespace dissent {

struct DatasetSpec;

/// Images in the folder root/split; for the splits train and test in root itself if that folder
/// does not exist. One subfolder per class; empty subfolders are classes too with
/// options.allow_empty, else an error. options.classes, if given, is the number of classes; there
/// may be fewer subfolders, not more. Without options.labels the images may be anywhere below the
/// folder and have the label -1.
std::unique_ptr<ImageSource> open_image_folders(const DatasetSpec& spec, const std::string& root,
                                                const ImageDataOptions& options);

}  // namespace dissent
