#pragma once
#include <optional>

#include "data/image_source.hpp"

namespace dissent {

/// A set that lies in memory as one tensor.
class MemoryImages : public ImageSource {
 public:
  /// images [N, H, W] or [N, H, W, 3] u8, host, contiguous; labels [N] i64. `label_place` names the
  /// labels in errors (their file).
  /// Error::kData: images and labels of different count, a label outside of -1 .. classes - 1.
  MemoryImages(const std::string& name, at::Tensor images, at::Tensor labels, int64_t classes,
               const std::string& label_place);
  at::Tensor image(int64_t row) const override { return images_[row]; }
  const at::Tensor& images() const { return images_; }

 private:
  at::Tensor images_;
};

/// Leaves rows with the label out of images [N, ...] and labels [N] and logs how many; nothing
/// without a label. Error::kData: no row is left.
void leave_out_label(at::Tensor& images, at::Tensor& labels, std::optional<int64_t> label,
                     const std::string& place);

/// Error::kData naming `place` and the first label outside of -1 .. classes - 1 (classes 0: of any
/// that is under -1). labels [N] i64
void check_labels(const at::Tensor& labels, int64_t classes, const std::string& place);

}  // namespace dissent
