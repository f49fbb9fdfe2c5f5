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
  /// Of each class, by number, where folders or a class file name them; else empty.
  const std::vector<std::string>& class_names() const { return class_names_; }
  /// What the set holds, wherever it lies: "fashion_mnist/train, 60000 images, 9c21...". Two sets
  /// of the same identity give the same pixels.
  const std::string& identity() const { return identity_; }

  /// What a message calls it: its path, or "cifar10/train, image 3".
  virtual std::string image_name(int64_t row) const;
  /// The image of a row: [H, W] or [H, W, 3] u8, host, contiguous. May be called by any number of
  /// threads at once.
  /// Error::kData naming the image if it is missing or damaged.
  virtual at::Tensor image(int64_t row) const = 0;
  /// The same, but pixels outside of the part that `wanted` names may hold anything: decoding may
  /// pass over them.
  virtual at::Tensor image_for(int64_t row, const WantedPart& wanted) const;

 protected:
  ImageSource() = default;
  std::string name_, identity_;
  int64_t classes_ = 0;
  std::vector<std::string> class_names_;
  at::Tensor labels_;
};

/// Where the files of the split that [data] names lie.
struct ImagePlace {
  std::string list;    ///< the list's file; "": the set has files of its own
  std::string folder;  ///< of the set or of the list's images; "": the list has whole paths
  std::string obtain;  ///< how to get the set, for messages; "" of a list
};
/// What a set is called in identities, checkpoints and result rows: data.dataset; where that is
/// empty, a list by its file's name without the ending, else fashion_mnist.
std::string set_name(const ImageDataOptions& options);

/// What is refused before a file is opened. Error::kUsage: unknown set or split, a set without
/// images, no root, a number of classes that is not the set's, a background that is no colour. Not
/// collective.
ImagePlace check_image_source(const ImageDataOptions& options);

/// The split that [data] names. Error::kUsage: unknown set or split, no root. Error::kData: files
/// missing (naming the path and how to get them) or damaged, images and labels of different count,
/// a label out of range. Not collective.
std::unique_ptr<ImageSource> open_image_source(const ImageDataOptions& options);

/// Where the number of classes follows from the labels of a list: Error::kData where classes
/// without a row are more than half of them, or 16 and more right below the highest label, which is
/// then rather a mark (255) than a class; fewer are logged. Nothing where options.classes or a
/// class file give the number.
void check_class_gaps(const ImageSource& source, const ImageDataOptions& options);
/// Error::kData unless both sets name the same classes in the same order, or one names none.
void check_same_classes(const ImageSource& source, const std::vector<std::string>& names,
                        const std::string& of);

}  // namespace dissent
