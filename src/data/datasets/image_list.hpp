#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/image_source.hpp"
#include "data/images/decode.hpp"
#include "data/options.hpp"

namespace dissent {

/// Image files listed in a text, as in OpenOOD's lists: one `path label` per line, the path
/// relative to a folder, the label -1 if unknown. The label is what follows the last space, so
/// paths may contain spaces; empty lines are skipped. Keeps the text and 16 bytes per line in
/// memory.
class ImageList : public ImageSource {
 public:
  /// Describes the lines. `place` is the list's file, for errors. classes 0: the number of class
  /// names; without names the highest label + 1 (0 if all labels are unknown).
  struct Origin {
    std::string name, place, root;
    int64_t classes = 0;
    std::vector<std::string> class_names = {};
    std::optional<int64_t> ignore_label = {};  ///< lines with it are skipped and counted in the log
    Background background = {};
  };
  /// Labels are read as 64-bit integers. Error::kData with place and line: no label, a label that
  /// is not a number or outside -1 .. classes - 1 (2^31 - 2 if the number of classes is unknown:
  /// caches store 32 bits), an absolute path together with a root; no lines; fewer classes than
  /// names.
  ImageList(const Origin& origin, std::string text);
  at::Tensor image(int64_t row) const override;
  at::Tensor image_for(int64_t row, const NeededPart& needed) const override;
  std::string image_name(int64_t row) const override { return path(row); }
  /// The path of an image, below the root.
  std::string path(int64_t row) const;

 private:
  std::string root_, text_;
  Background background_;
  at::Tensor places_;  // [N] i64: where the line begins in the text
};

/// Opens the list data.list, with the class names of its class file (class_file_of) if that exists.
/// Error::kUsage, Error::kData as above; missing image files are errors when the image is read.
std::unique_ptr<ImageSource> open_image_list(const ImageDataOptions& options);

}  // namespace dissent
