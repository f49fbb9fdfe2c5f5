#include "data/datasets/image_folders.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>

#include "data/datasets/folder_list.hpp"
#include "data/datasets/image_list.hpp"
#include "data/datasets/registry.hpp"

namespace dissent {

namespace fs = std::filesystem;

std::unique_ptr<ImageSource> open_image_folders(const DatasetSpec&, const std::string& root,
                                                const ImageDataOptions& options) {
  const auto& split = options.split;

  // Only train and test may stand for the whole folder; any other split has to exist.
  const bool whole =
      (split == kTrainSplit || split == kTestSplit) && !fs::is_directory(root + "/" + split);
  const std::string folder = whole ? root : root + "/" + split;
  const auto name = fs::path(folder).lexically_normal().string();

  // Read as a list that is made now: the same order and labels as in one that `dissent imglist`
  // writes.
  auto list = list_folders({.folders = {folder},
                            .root = folder,
                            .label = options.labels ? std::nullopt : std::optional<int64_t>(-1),
                            .allow_empty = options.allow_empty});
  log_skipped(list, name);
  return std::make_unique<ImageList>(
      ImageList::Origin{.name = "folder/" + split,
                        .place = name,
                        .root = folder,
                        .classes = options.labels ? options.classes.value_or(0) : 0,
                        .class_names = list.classes,
                        .ignore_label = options.ignore_label,
                        .background = background_of(options.background)},
      list.text);
}

}  // namespace dissent
