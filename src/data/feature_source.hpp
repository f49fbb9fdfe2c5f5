#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "data/options.hpp"

namespace dissent {

/// What a cache is made of: rows of features on demand, so that a set that is made (synthetic) never lies in memory as a whole.
struct FeatureSource {
  std::string name;           ///< "fashion_mnist/train"
  int64_t rows = 0;           ///< of a pass
  int64_t dim = 0;
  int64_t classes = 0;
  std::function<at::Tensor(int64_t pass, int64_t first, int64_t count)> features;  ///< [count, dim] f32
  std::function<at::Tensor(int64_t first, int64_t count)> labels;                  ///< [count] i64
};

/// The set that [data] names, through the trunk that [trunk] names. Error::kUsage: a trunk that does not go with the set (pixels needs images, none
/// needs features). Error::kData: see open_image_source. Not collective.
FeatureSource open_source(const ImageDataOptions& data, const TrunkOptions& trunk);

}  // namespace dissent
