#include "models/weights/zip_checksums.hpp"

#include <zlib.h>
#include <dissent/error.hpp>

#include <cstring>
#include <filesystem>

#include "storage/seal.hpp"

namespace dissent {
namespace {

// A little-endian number at an offset; the caller has checked the length.
template <class T>
T number_at(const std::string& bytes, size_t place) {
  T value;
  std::memcpy(&value, bytes.data() + place, sizeof value);
  return value;
}

}  // namespace

ZipChecksums::ZipChecksums(const std::string& path) : path_(path) {
  constexpr size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46,
                   kMostComment = 65535;
  const auto fail = [&](const std::string& what) {
    DISSENT_FAIL(
        kData,
        "{}: expected a file of torch.save, found another or a damaged one (a zip archive with {})",
        path, what);
  };

  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  const auto read = [&](int64_t first, int64_t count) {
    if (first < 0 || count < 0 || count > size - first) fail("a directory outside of the file");
    std::string bytes(static_cast<size_t>(count), '\0');
    read_file_bytes(path, first, count, bytes.data());
    return bytes;
  };
  // The end-of-directory record is at the end of the file, followed only by a comment.
  const int64_t tail_bytes = std::min<int64_t>(size, kEndBytes + kMostComment);
  const auto tail = read(size - tail_bytes, tail_bytes);
  const auto end = tail.rfind("PK\5\6");
  if (end == std::string::npos || tail.size() - end < kEndBytes) fail("no directory at its end");
  uint64_t entries = number_at<uint16_t>(tail, end + 10),
           bytes = number_at<uint32_t>(tail, end + 12), first = number_at<uint32_t>(tail, end + 16);

  // Archives of more than 4 GiB have the 64-bit record, found through a locator in front of the old
  // one.
  const int64_t end_place = size - tail_bytes + static_cast<int64_t>(end);
  if (end_place >= static_cast<int64_t>(kLocatorBytes)) {
    const auto locator = read(end_place - kLocatorBytes, kLocatorBytes);
    if (locator.starts_with("PK\6\7")) {
      const auto end64 = read(number_at<int64_t>(locator, 8), kEnd64Bytes);
      if (!end64.starts_with("PK\6\6")) fail("a damaged directory");
      entries = number_at<uint64_t>(end64, 32);
      bytes = number_at<uint64_t>(end64, 40);
      first = number_at<uint64_t>(end64, 48);
    }
  }

  // One entry per record: its CRC-32 and name, then an extra field and a comment that are skipped.
  const auto directory = read(static_cast<int64_t>(first), static_cast<int64_t>(bytes));
  size_t at = 0;
  for (uint64_t entry = 0; entry < entries; ++entry) {
    if (directory.size() - at < kEntryBytes || directory.compare(at, 4, "PK\1\2") != 0)
      fail("a damaged directory");
    const size_t name_bytes = number_at<uint16_t>(directory, at + 28),
                 more = number_at<uint16_t>(directory, at + 30) +
                        size_t{number_at<uint16_t>(directory, at + 32)};
    if (directory.size() - at < kEntryBytes + name_bytes + more) fail("a damaged directory");
    const auto name = directory.substr(at + kEntryBytes, name_bytes);
    // All records lie in one folder, named after the file that was saved.
    crcs_.emplace(name.substr(name.find('/') + 1), number_at<uint32_t>(directory, at + 16));
    at += kEntryBytes + name_bytes + more;
  }
}

void ZipChecksums::check(const std::string& record, const void* bytes, int64_t count) const {
  const auto known = crcs_.find(record);
  DISSENT_CHECK(known != crcs_.end(), kData,
                "{}: expected a record {} in its directory, found none", path_, record);
  if (known->second == 0) return;
  constexpr int64_t kPiece = int64_t{1} << 30;
  uLong found = crc32(0, nullptr, 0);
  const auto* data = static_cast<const Bytef*>(bytes);
  for (int64_t done = 0; done < count; done += kPiece)
    found = crc32(found, data + done, static_cast<uInt>(std::min(kPiece, count - done)));
  DISSENT_CHECK(
      found == known->second, kData,
      "{}: {}: damaged: expected CRC-32 {:08x}, as its directory says, found {:08x}; copy "
      "the file again",
      path_, record, known->second, found);
}

}  // namespace dissent
