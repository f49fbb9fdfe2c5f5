#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/images/image_part.hpp"

namespace dissent {

/// One split of an image set, whose images are decoded on demand.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  ImageSource(const ImageSource&) = delete;
  ImageSource& operator=(const ImageSource&) = delete;

  const std::string& name() const { return name_; }  ///< "fashion_mnist/train"
  int64_t rows() const { return labels_.size(0); }
  int64_t classes() const { return classes_; }  ///< C; 0: not known
  const at::Tensor& labels() const {
    return labels_;
  }  ///< [N] i64, in 0 .. C - 1, or -1 where unknown
  /// Names of the classes by number, if folders or a class file give them; else empty.
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// Identifies the contents, independent of the path: "fashion_mnist/train, 60000 images,
  /// 9c21...". Two sets with the same identity give the same pixels.
  const std::string& identity() const { return identity_; }

  /// Name of an image in messages: its path, or "cifar10/train, image 3".
  virtual std::string image_name(int64_t row) const;
  /// The image of a row: [H, W] or [H, W, 3] u8, host, contiguous. Thread-safe. Error::kData with
  /// the image's name if it is missing or damaged.
  virtual at::Tensor image(int64_t row) const = 0;
  /// The same, but pixels outside the part that `needed` returns are undefined: the decoder may
  /// skip them.
  virtual at::Tensor image_for(int64_t row, const NeededPart& needed) const;

 protected:
  ImageSource() = default;
  std::string name_, identity_;
  int64_t classes_ = 0;
  std::vector<std::string> class_names_;
  at::Tensor labels_;
};

}  // namespace dissent
