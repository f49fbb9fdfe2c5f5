#include "data/constant_images.hpp"

#include <cstring>

#include <spdlog/spdlog.h>

namespace dissent {

bool is_constant(const at::Tensor& image, const ImagePart& part) {
  const int64_t channels = image.dim() == 3 ? image.size(2) : 1, stride = image.size(1) * channels;
  const auto* first = image.const_data_ptr<uint8_t>() + part.top * stride + part.left * channels;

  // Every row has to begin with the first pixel and to be constant itself. memcmp stops at the
  // first difference, so an ordinary image costs a few bytes.
  for (int64_t y = 0; y < part.height; ++y) {
    const auto* row = first + y * stride;
    if (std::memcmp(row, first, static_cast<size_t>(channels)) != 0) return false;
    // A row is constant if it equals itself shifted by one pixel.
    if (std::memcmp(row, row + channels, static_cast<size_t>((part.width - 1) * channels)) != 0)
      return false;
  }
  return true;
}

bool is_constant(const at::Tensor& image) {
  const ImagePart whole{0, 0, image.size(0), image.size(1)};
  return whole.height * whole.width > 1 && is_constant(image, whole);
}

ConstantImages::~ConstantImages() {
  if (rows_.size() > 1)
    spdlog::warn("event=constant_images count={} first={}", rows_.size(), first_);
}

void ConstantImages::add(const ImageSource& source, int64_t row) {
  if (!rows_.emplace(source.identity(), row).second || rows_.size() > 1) return;
  first_ = source.image_name(row);
  spdlog::warn(
      "event=constant_image name=\"{}\" reason=\"all pixels have the same colour; content of the "
      "alpha channel is dropped unless a background is set; further images are only counted\"",
      first_);
}

}  // namespace dissent
