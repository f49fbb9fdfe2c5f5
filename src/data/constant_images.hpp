#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "data/image_source.hpp"

namespace dissent {

/// Whether all pixels of the part have one colour. image [H, W] or [H, W, 3] u8, host, contiguous
bool is_constant(const at::Tensor& image, const ImagePart& part);
/// The same for a whole image of more than one pixel.
bool is_constant(const at::Tensor& image);

/// Counts images whose pixels all have the same colour, for example images whose content is only in
/// their alpha channel. An image counts once, however often it is read. The first is logged by
/// name, the count in the destructor. Not thread-safe.
class ConstantImages {
 public:
  ConstantImages() = default;
  ConstantImages(const ConstantImages&) = delete;
  ConstantImages& operator=(const ConstantImages&) = delete;
  ~ConstantImages();
  /// Notes that all pixels of this image have one colour; the first one is logged.
  void add(const ImageSource& source, int64_t row);
  int64_t count() const { return static_cast<int64_t>(rows_.size()); }

 private:
  std::set<std::pair<std::string, int64_t>> rows_;  // of the set's identity
  std::string first_;
};

}  // namespace dissent
