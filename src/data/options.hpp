#pragma once
#include <optional>
#include <string>

#include "core/options.hpp"

namespace dissent {

/// [cache]
struct CacheOptions {
  std::string output;
  int64_t passes = 1;
  std::string dtype = "f32";
  int64_t shard_rows = 131072;
};
/// [data] of caching and of training on images: which set
struct ImageDataOptions {
  std::string dataset;
  std::string root;
  std::string split = "train";
  std::string list;
  bool labels = true;
  std::string rows;  ///< a number or a slice
  int64_t dim = 768;
  std::optional<int64_t> classes;
  /// No key: the classes of the training set, which labels of a list without class names are below.
  std::optional<int64_t> classes_of_training;
  std::optional<int64_t> ignore_label;
  bool allow_empty = false;
  std::string background = "none";
  int64_t seed = 42;
  std::string transform = "none";
  int64_t workers = 0;
  int64_t prefetch = 2;
};

/// What the keys of image sets mean that several tables have.
constexpr const char* kIgnoreLabelMeaning =
    "rows with this label are left out and counted in the log, as 255 or -100 of sets with "
    "unlabelled parts";
constexpr const char* kAllowEmptyMeaning =
    "of folder: subfolders without an image are classes without rows; false: an error";
constexpr const char* kBackgroundMeaning =
    "behind transparent pixels of PNG files: white, black, \"#rrggbb\" or \"r,g,b\"; none: "
    "transparency is dropped, as PIL's convert(\"RGB\") does";

const TableSpec& cache_table();
const TableSpec& image_data_table();

}  // namespace dissent
