#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dissent {

/// A labelled image set in memory.
struct ImageSet {
  std::string name;     ///< "fashion_mnist/train"
  int64_t classes = 0;
  at::Tensor images;    ///< [N, H, W] u8 for grey images
  at::Tensor labels;    ///< [N] i64, in 0 .. classes - 1
};

/// A split and its files below the root.
struct DatasetSplit {
  std::string name;
  std::string images;
  std::string labels;
};

/// One line of the dataset table. To add a set: its line in registry.cpp, and a reader if its format is new.
struct DatasetSpec {
  std::string name;
  int64_t classes = 0;
  std::string default_root;  ///< "" if there is none: the root has to be given
  std::vector<DatasetSplit> splits;
  std::string obtain;        ///< how to get the files, for error messages
  std::string citation;
  ImageSet (*load)(const DatasetSpec& spec, const std::string& root, const DatasetSplit& split);  ///< null: features that are made, not read (synthetic.hpp)
};

const std::vector<DatasetSpec>& dataset_table();
/// Error::kUsage naming the known sets.
const DatasetSpec& find_dataset(const std::string& name);

/// Loads a split of a registered set. root "" means the default one. Error::kUsage: unknown set or split, no root. Error::kData: files missing
/// (naming the path and how to get them), damaged, images and labels of different count, a label out of range. Not collective.
ImageSet load_images(const std::string& name, const std::string& root, const std::string& split);

/// Features of the trunk "pixels": images [N, ...] u8 -> [N, D] f32, value / 255.
at::Tensor pixel_features(const at::Tensor& images);

}  // namespace dissent
