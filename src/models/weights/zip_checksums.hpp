#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace dissent {

/// The CRC-32 of each record of a zip archive, from its central directory. Needed because
/// LibTorch's reader of torch.save files is built without the check.
/// Ref: PKWARE
/// APPNOTE 6.3.9, 4.3.12 to 4.3.16
class ZipChecksums {
 public:
  /// Error::kData: not an archive, or a directory that does not fit the file.
  explicit ZipChecksums(const std::string& path);
  /// Error::kData with file and record unless the bytes have the record's CRC-32. `record` is given
  /// without the archive's folder: "data.pkl", "data/0". A CRC of 0 is not checked: the record was
  /// written without one (torch.serialization.set_crc32_options(False)).
  void check(const std::string& record, const void* bytes, int64_t count) const;

 private:
  std::string path_;
  std::map<std::string, uint32_t> crcs_;  // by record
};

}  // namespace dissent
