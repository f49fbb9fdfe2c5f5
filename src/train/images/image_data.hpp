#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/image_source.hpp"
#include "data/transforms/transform.hpp"
#include "train/config/image_config.hpp"

namespace dissent {

/// An image set and the transform that its images go through.
struct TransformedSet {
  std::unique_ptr<ImageSource> source;
  TransformOptions transform;
};

/// The image sets of a training, opened: labels and lists are in memory, pixels may still be on
/// disk.
struct ImageData {
  TransformedSet train;
  std::optional<TransformedSet> validation, unlabelled;
  int64_t classes = 0;
  std::string identity;  ///< contents of the sets, wherever they are stored
};

/// The sets that the configuration names, by table: data, validation, unlabelled.
std::vector<std::pair<std::string, ImageDataOptions>> image_sets(const ImageTrainConfig& config);

/// Opens the sets. Error::kUsage, Error::kData: as open_image_source, and for labels that are
/// unknown or beyond the classes of the training set. Not collective.
ImageData open_image_data(const ImageTrainConfig& config);

}  // namespace dissent
