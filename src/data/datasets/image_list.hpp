#pragma once
#include <optional>

#include "data/image_source.hpp"
#include "data/images/decode.hpp"

namespace dissent {

/// Image files named by the lines of a text, as OpenOOD's lists: `path label`, the path below a
/// folder, the label -1 where it is unknown. The label is what follows the last space, so paths may
/// hold spaces; empty lines are passed over. In memory lie the text, and 16 bytes a line.
class ImageList : public ImageSource {
 public:
  /// What the lines are of: `place` is the list's file, for errors. classes 0: as many as there are
  /// class names; without those the highest label + 1 (0 if all are unknown).
  struct Origin {
    std::string name, place, root;
    int64_t classes = 0;
    std::vector<std::string> class_names = {};
    std::optional<int64_t> ignore_label = {};  ///< such lines are left out and counted in the log
    Background background = {};
  };
  /// Labels are read as 64-bit numbers. Error::kData naming place and line: no label, a label that
  /// is no number or outside of -1 .. classes - 1 (2^31 - 2 where classes are not known: caches
  /// keep 32 bits), an absolute path below a root; no lines; fewer classes than names.
  ImageList(const Origin& origin, std::string text);
  at::Tensor image(int64_t row) const override;
  at::Tensor image_for(int64_t row, const WantedPart& wanted) const override;
  std::string image_name(int64_t row) const override { return path(row); }
  std::string path(int64_t row) const;

 private:
  std::string root_, text_;
  Background background_;
  at::Tensor places_;  // [N] i64: where in the text a path begins
};

/// The list file of data.list, with the names of its class file (class_file_of) where that is
/// there. Error::kUsage, Error::kData as above; missing files are found when
/// their image is asked for.
std::unique_ptr<ImageSource> open_image_list(const ImageDataOptions& options);

}  // namespace dissent
