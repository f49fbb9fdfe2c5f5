#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dissent {

/// What a list of images in folders says: `path label` a line.
struct FolderListOptions {
  std::vector<std::string> folders;
  std::string root;  ///< the paths of the list are below it; empty: as the folders are given
  std::vector<std::string> classes = {};  ///< names of subfolders in the order of their numbers;
                                          ///< empty: those that are there, sorted
  int64_t class_field = 0;  ///< n above 0: an image's class is not its subfolder but the n-th part
                            ///< of its file's name, cut at "_", without the file's ending
                            ///< (model-vs-human: 5)
  std::optional<int64_t> label;  ///< of all images; else the class is the subfolder of the folder
                                 ///< in which an image lies, however deep
};

/// Lists the files *.jpg, *.jpeg and *.png (in any case) below the folders. Classes are numbered by
/// the sorted names of the subfolders, of all folders together (of ImageNet: the order of the
/// synsets), empty ones included; lines are sorted by label and path, byte by byte, so the same
/// files give the same text everywhere.
/// Error::kData: a folder that is missing, has no images, is not below the root, or has images
/// outside of subfolders or in one that `classes` does not name; a name of fewer parts than
/// `class_field`; a name with a line break.
std::string list_folders(const FolderListOptions& options);

}  // namespace dissent
