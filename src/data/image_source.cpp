#include "data/image_source.hpp"

#include <cstdint>

#include <fmt/format.h>

namespace dissent {

std::string ImageSource::image_name(int64_t row) const {
  return fmt::format("{}, image {}", name_, row);
}

at::Tensor ImageSource::image_for(int64_t row, const NeededPart&) const { return image(row); }

}  // namespace dissent
