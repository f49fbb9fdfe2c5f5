#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/image_source.hpp"
#include "data/transforms/transform.hpp"
#include "train/config/image_config.hpp"

namespace dissent {

/// An image set and the transform of its images.
struct TransformedSet {
  std::unique_ptr<ImageSource> source;
  TransformOptions transform;
};

/// The open image sets of a training: labels and lists are in memory, pixels may still be on disk.
struct ImageData {
  TransformedSet train;
  std::optional<TransformedSet> validation, unlabelled;
  int64_t classes = 0;
  std::string identity;  ///< identifies the contents of the sets, independent of their paths
};

/// The image sets of a configuration by table: data, validation, unlabelled.
std::vector<std::pair<std::string, ImageDataOptions>> image_sets(const ImageTrainConfig& config);

/// Opens the sets. Error::kUsage, Error::kData: those of open_image_source, and labels that are
/// unknown or not below the number of classes of the training set. Not collective.
ImageData open_image_data(const ImageTrainConfig& config);

}  // namespace dissent
