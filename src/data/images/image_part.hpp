#pragma once
#include <cstdint>
#include <functional>

namespace dissent {

/// Rows [top, top + height) and columns [left, left + width) of an image.
struct ImagePart {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// Returns the part of an image of this height and width that will be read; decoders may leave the
/// pixels outside of it undefined.
using NeededPart = std::function<ImagePart(int64_t height, int64_t width)>;

}  // namespace dissent
