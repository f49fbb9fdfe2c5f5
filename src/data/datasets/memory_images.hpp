#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "data/image_source.hpp"

namespace dissent {

/// A set held in memory as one tensor.
class MemoryImages : public ImageSource {
 public:
  /// images [N, H, W] or [N, H, W, 3] u8, host, contiguous; labels [N] i64. `label_place`: the file
  /// of the labels, for errors.
  /// Error::kData: different numbers of images and labels, a label outside -1 .. classes - 1.
  MemoryImages(const std::string& name, at::Tensor images, at::Tensor labels, int64_t classes,
               const std::string& label_place);
  at::Tensor image(int64_t row) const override { return images_[row]; }
  const at::Tensor& images() const { return images_; }

 private:
  at::Tensor images_;
};

/// Removes rows with this label from images [N, ...] and labels [N] and logs how many; does nothing
/// without a label. Error::kData: no row remains.
void leave_out_label(at::Tensor& images, at::Tensor& labels, std::optional<int64_t> label,
                     const std::string& place);

/// Error::kData with `place` and the first label outside -1 .. classes - 1 (classes 0: the first
/// below -1). labels [N] i64
void check_labels(const at::Tensor& labels, int64_t classes, const std::string& place);

}  // namespace dissent
