#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/options.hpp"

namespace dissent {

/// The value of the keys transform and background that selects nothing.
inline constexpr const char* kNoneSelected = "none";
/// The value of a set's key transform that selects the test transform of the training set.
inline constexpr const char* kAutoTransform = "auto";
/// Trunks without a network (trunk.model): the pixels of images, and features of the set itself.
inline constexpr const char* kPixelTrunk = "pixels";
inline constexpr const char* kNoTrunk = "none";

/// [cache]
struct CacheOptions {
  std::string output;
  int64_t passes = 1;
  at::ScalarType dtype = at::kFloat;
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
  /// Not a key: number of classes of the training set, the limit for labels of a list without class
  /// names.
  std::optional<int64_t> classes_of_training;
  std::optional<int64_t> ignore_label;
  bool allow_empty = false;
  std::string background = kNoneSelected;
  int64_t seed = 42;
  std::string transform = kNoneSelected;
  int64_t workers = 0;
  int64_t prefetch = 2;

  bool has_transform() const { return transform != kNoneSelected; }
};

/// Descriptions of keys that several tables of image sets have.
constexpr const char* kIgnoreLabelMeaning =
    "skip rows with this label and log their number, for example 255 or -100 in sets with "
    "unlabelled parts";
constexpr const char* kAllowEmptyMeaning =
    "for dataset = \"folder\": subfolders without images are classes without rows; false: they are "
    "an error";
constexpr const char* kBackgroundMeaning =
    "colour behind transparent pixels of PNG files: white, black, \"#rrggbb\" or \"r,g,b\"; none: "
    "drop the alpha channel, as PIL's convert(\"RGB\") does";

/// The keys of [cache] and of [data] in the configuration of `dissent cache`.
const TableSpec& cache_table();
const TableSpec& image_data_table();

}  // namespace dissent
