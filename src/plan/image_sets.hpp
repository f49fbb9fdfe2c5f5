#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "plan/settings.hpp"
#include "train/config/image_config.hpp"
#include "train/images/image_data.hpp"

namespace dissent::plan {

/// The image sets of a training, as far as they exist.
struct ImageSets {
  std::optional<ImageData> data;
  int64_t classes = 0;
  std::optional<int64_t> rows, validation_rows;  ///< nothing: unknown
  int64_t bytes = 0;                             ///< memory that the opened sets take
  std::string text;                              ///< lines of the report
};

/// Opens the sets; where they do not exist, takes sizes from the configuration and `sizes`.
/// Error::kUsage for a size that is missing or not used. Not collective.
ImageSets find_image_sets(const ImageTrainConfig& config, const AssumedSizes& sizes);

}  // namespace dissent::plan
