#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace dissent {

/// Saliency maps of all members on some images; what `dissent plot saliency` draws. An HDF5 file
/// with the attributes format = "dissent-saliency" and version = 1 and one dataset a field, texts
/// as UTF-8 bytes, a name a line. On the host, contiguous.
struct SaliencyMaps {
  at::Tensor image;                     ///< u8  [N, H, W, 3] or [N, H, W, 1]: before normalisation
  at::Tensor maps;                      ///< f32 [N, M, h, w]: of the true class, before any scaling
  at::Tensor label;                     ///< i64 [N]: -1 unknown
  at::Tensor prediction;                ///< i64 [N]: of the ensemble
  std::vector<std::string> names = {};  ///< [N] files of the images; may be missing
  std::vector<std::string> class_names = {};  ///< [C]; may be missing
};

/// Writes the file whole and renames it. By one process. Error::kUsage naming the field whose dtype
/// or shape does not fit; Error::kData: the disk.
void write_saliency(const std::string& path, const SaliencyMaps& saliency);
/// Error::kData naming file and dataset for one that is missing or does not fit.
SaliencyMaps read_saliency(const std::string& path);

}  // namespace dissent
