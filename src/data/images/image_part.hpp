#pragma once
#include <cstdint>
#include <functional>

namespace dissent {

/// Rows [top, top + height) and columns [left, left + width) of an image.
struct ImagePart {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// The part of an image of this height and width that is going to be looked at; what decodes may
/// leave pixels outside of it as they happen to be.
using WantedPart = std::function<ImagePart(int64_t height, int64_t width)>;

}  // namespace dissent
