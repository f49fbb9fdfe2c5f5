#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "data/options.hpp"

namespace dissent {

/// The source of a feature cache: rows of features on demand, so that a generated set (synthetic)
/// is never in memory as a whole.
struct FeatureSource {
  std::string name;  ///< "fashion_mnist/train"; for a network the set's identity
                     ///< (ImageSource::identity): "fashion_mnist/train, 60000 images, 9c21..."
  int64_t rows = 0;  ///< per pass
  int64_t dim = 0;
  int64_t classes = 0;
  bool draws = false;        ///< random, so that passes differ
  std::string trunk;         ///< "pixels", "none", or a network and its cut: "lenet/features"
  std::string weights = {};  ///< checksum of the network's weights
  std::string transform = kNoneSelected;
  std::function<at::Tensor(int64_t pass, int64_t first, int64_t count)>
      features;                                                    ///< [count, dim] f32, host
  std::function<at::Tensor(int64_t first, int64_t count)> labels;  ///< [count] i64
};

/// The checks of open_source that need no file. Error::kUsage. Not collective.
void check_source(const ImageDataOptions& data, const std::string& trunk);
/// The set selected by [data] without a network: `trunk` is "pixels" for sets of images (value /
/// 255, flattened), "none" for sets that already are features. Error::kUsage: a trunk that does not
/// fit the set. Error::kData: see open_image_source. Not collective.
FeatureSource open_source(const ImageDataOptions& data, const std::string& trunk);
/// True if [data] selects generated features (synthetic), not images.
bool has_no_images(const ImageDataOptions& data);

}  // namespace dissent
