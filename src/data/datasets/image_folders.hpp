#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/image_source.hpp"

namespace dissent {

struct DatasetSpec;

/// What a list of images in folders says: `path label` a line.
struct FolderListOptions {
  std::vector<std::string> folders;
  std::string root;  ///< the paths of the list are below it; empty: as the folders are given
  std::vector<std::string> classes = {};  ///< names of subfolders in the order of their numbers;
                                          ///< empty: those that are there, sorted
  std::optional<int64_t> label;  ///< of all images; else the class is the subfolder of the folder
                                 ///< in which an image lies, however deep
};

/// Lists the files *.jpg, *.jpeg and *.png (in any case) below the folders. Classes are numbered by
/// the sorted names of the subfolders, of all folders together (of ImageNet: the order of the
/// synsets); lines are sorted by label and path, byte by byte, so the same files give the same text
/// everywhere.
/// Error::kData: a folder that is missing, has no images, is not below the root, or has images
/// outside of subfolders or in one that
/// `classes` does not name; a name with a line break.
std::string list_folders(const FolderListOptions& options);

/// root/split; for the splits train and test root itself where there is no such folder. One
/// subfolder a class.
std::unique_ptr<ImageSource> open_image_folders(const DatasetSpec& spec, const std::string& root,
                                                const std::string& split);

}  // namespace dissent
