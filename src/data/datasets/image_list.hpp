#pragma once
#include "data/image_source.hpp"

namespace dissent {

/// Image files named by the lines of a text, as OpenOOD's lists: `path label`, the path below a
/// folder, the label -1 where it is unknown. The label is what follows the last space, so paths may
/// hold spaces; empty lines are passed over. In memory lie the text, and 16 bytes a line.
class ImageList : public ImageSource {
 public:
  /// What the lines are of: `place` is the list's file, for errors. classes 0: the highest label +
  /// 1 (0 if all are unknown).
  struct Origin {
    std::string name, place, root;
    int64_t classes = 0;
  };
  /// Error::kData naming place and line: no label, a label that is no number or outside of -1 ..
  /// classes - 1, an absolute path below a root; no lines.
  ImageList(const Origin& origin, std::string text);
  at::Tensor image(int64_t row) const override;
  at::Tensor image_for(int64_t row, const WantedPart& wanted) const override;
  std::string path(int64_t row) const;
  std::string image_name(int64_t row) const override { return path(row); }

 private:
  std::string root_, text_;
  at::Tensor places_;  // [N] i64: where in the text a path begins
};

/// The list file of data.list. Error::kUsage, Error::kData as above; missing files are found when
/// their image is asked for.
std::unique_ptr<ImageSource> open_image_list(const ImageDataOptions& options);

}  // namespace dissent
