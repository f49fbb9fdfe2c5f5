#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/image_source.hpp"
#include "data/options.hpp"

namespace dissent {

/// One entry of the dataset table. A new set needs its entry in registry.cpp, and a reader if its
/// format is new.
struct DatasetSpec {
  std::string name;
  int64_t classes = 0;              ///< 0: determined by the files
  std::string default_root;         ///< "": none, the root has to be given
  std::vector<std::string> splits;  ///< empty: any that open() finds
  std::string obtain;               ///< how to get the files, for error messages
  std::string citation;
  /// Null: generated features (synthetic.hpp).
  std::unique_ptr<ImageSource> (*open)(const DatasetSpec& spec, const std::string& root,
                                       const ImageDataOptions& options);
  std::vector<std::string> class_names = {};  ///< by number, for plots; empty if not known
};

/// The set for an empty data.dataset without a list.
inline constexpr const char* kDefaultDataset = "fashion_mnist";
/// The splits of sets with fixed splits.
inline constexpr const char* kTrainSplit = "train";
inline constexpr const char* kTestSplit = "test";

/// All registered sets.
const std::vector<DatasetSpec>& dataset_table();
/// Error::kUsage with the known sets.
const DatasetSpec& find_dataset(const std::string& name);
/// Class names of a registered set by number; empty for a set without names or an unknown set.
std::vector<std::string> registered_class_names(const std::string& dataset);

}  // namespace dissent
