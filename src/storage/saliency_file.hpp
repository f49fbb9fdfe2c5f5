#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dissent {

/// Saliency maps of all members for some images, as drawn by `dissent plot saliency`. Stored in an
/// HDF5 file with the attributes format = "dissent-saliency" and version = 2 and one dataset per
/// field; texts are UTF-8 bytes, one name per line. On the host, contiguous.
struct SaliencyMaps {
  at::Tensor image;                     ///< u8  [N, H, W, 3] or [N, H, W, 1]: before normalisation
  at::Tensor maps;                      ///< f32 [N, M, h, w]: for the true class, unscaled
  at::Tensor label;                     ///< i64 [N]: -1 unknown
  at::Tensor prediction;                ///< i64 [N]: the ensemble's
  std::vector<std::string> names = {};  ///< [N] files of the images; may be missing
  std::vector<std::string> class_names = {};  ///< [C]; may be missing
};

/// Writes a temporary file and renames it. For one process. Error::kUsage with the field whose
/// dtype or shape does not fit; Error::kData: the file cannot be written.
void write_saliency(const std::string& path, const SaliencyMaps& saliency);
/// Error::kData with file and dataset if one is missing or does not fit.
SaliencyMaps read_saliency(const std::string& path);

}  // namespace dissent
