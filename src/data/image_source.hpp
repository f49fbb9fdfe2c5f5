#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "data/images/image_part.hpp"
#include "data/options.hpp"

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
  /// The same, but pixels outside the part that `wanted` returns are undefined: the decoder may
  /// skip them.
  virtual at::Tensor image_for(int64_t row, const WantedPart& wanted) const;

 protected:
  ImageSource() = default;
  std::string name_, identity_;
  int64_t classes_ = 0;
  std::vector<std::string> class_names_;
  at::Tensor labels_;
};

/// Where the files of the split selected by [data] are stored.
struct ImagePlace {
  std::string list;    ///< the list's file; "" for a registered set
  std::string folder;  ///< of the set or of the list's images; "": the list has absolute paths
  std::string obtain;  ///< how to get the set, for messages; "" for a list
};
/// Name of a set in identities, checkpoints and result rows: data.dataset; if that is empty, the
/// file name of the list without its suffix, or fashion_mnist without a list.
std::string set_name(const ImageDataOptions& options);

/// Checks the options before any file is opened. Error::kUsage: unknown set or split, a set without
/// images, no root, a number of classes that is not the set's, a background that is not a colour.
/// Not collective.
ImagePlace check_image_source(const ImageDataOptions& options);

/// Opens the split selected by [data]. Error::kUsage: unknown set or split, no root. Error::kData:
/// files missing (with the path and how to get them) or damaged, different numbers of images and
/// labels, a label out of range. Not collective.
std::unique_ptr<ImageSource> open_image_source(const ImageDataOptions& options);

/// For a list whose number of classes follows from its labels: Error::kData if more than half of
/// the classes have no row, or 16 and more right below the highest label, which then is probably a
/// marker (255) and not a class; fewer are logged. Checks nothing if options.classes or a class
/// file give the number.
void check_class_gaps(const ImageSource& source, const ImageDataOptions& options);
/// Error::kData unless both sets have the same class names in the same order, or one has none.
void check_same_classes(const ImageSource& source, const std::vector<std::string>& names,
                        const std::string& of);

}  // namespace dissent
