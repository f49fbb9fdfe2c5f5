#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace dissent {

/// The CRC-32 of each record of a zip archive, from its directory. LibTorch's reader of
/// torch.save's files is built without the check. Ref: PKWARE APPNOTE 6.3.9, 4.3.12 to 4.3.16
class ZipChecksums {
 public:
  /// Error::kData: no archive, or a directory that does not fit the file.
  explicit ZipChecksums(const std::string& path);
  /// Error::kData naming file and record unless the bytes have the record's CRC-32. `record` is
  /// without the archive's folder: "data.pkl", "data/0". One whose CRC is 0 was written without
  /// (torch.serialization.set_crc32_options(False)).
  void check(const std::string& record, const void* bytes, int64_t count) const;

 private:
  std::string path_;
  std::map<std::string, uint32_t> crcs_;  // by record
};

}  // namespace dissent
