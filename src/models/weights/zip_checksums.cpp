#include "models/weights/zip_checksums.hpp"

#include <zlib.h>
#include <dissent/error.hpp>

#include <algorithm>
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

constexpr size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46,
                 kMostComment = 65535;

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  DISSENT_FAIL(
      kData,
      "{}: expected a file of torch.save, found another format or damage (a zip archive with {})",
      path, what);
}

// Bytes [first, first + count) of the archive.
std::string bytes_at(const std::string& path, int64_t size, int64_t first, int64_t count) {
  if (first < 0 || count < 0 || count > size - first) fail(path, "a directory outside the file");
  std::string bytes(static_cast<size_t>(count), '\0');
  read_file_bytes(path, first, count, bytes.data());
  return bytes;
}

// The central directory: its number of entries, size and place.
struct Directory {
  uint64_t entries, bytes, first;
};

Directory find_directory(const std::string& path, int64_t size) {
  // The end-of-directory record is at the end of the file, followed only by a comment.
  const int64_t tail_bytes = std::min<int64_t>(size, kEndBytes + kMostComment);
  const auto tail = bytes_at(path, size, size - tail_bytes, tail_bytes);
  const auto end = tail.rfind("PK\5\6");
  if (end == std::string::npos || tail.size() - end < kEndBytes)
    fail(path, "no directory at its end");

  const Directory directory{number_at<uint16_t>(tail, end + 10),
                            number_at<uint32_t>(tail, end + 12),
                            number_at<uint32_t>(tail, end + 16)};

  // Archives of more than 4 GiB have a 64-bit record, found through a locator in front of this one.
  const int64_t end_place = size - tail_bytes + static_cast<int64_t>(end);
  if (end_place < static_cast<int64_t>(kLocatorBytes)) return directory;
  const auto locator = bytes_at(path, size, end_place - kLocatorBytes, kLocatorBytes);
  if (!locator.starts_with("PK\6\7")) return directory;

  const auto end64 = bytes_at(path, size, number_at<int64_t>(locator, 8), kEnd64Bytes);
  if (!end64.starts_with("PK\6\6")) fail(path, "a damaged directory");
  return {number_at<uint64_t>(end64, 32), number_at<uint64_t>(end64, 40),
          number_at<uint64_t>(end64, 48)};
}

}  // namespace

ZipChecksums::ZipChecksums(const std::string& path) : path_(path) {
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  const auto found = find_directory(path, size);
  const auto directory =
      bytes_at(path, size, static_cast<int64_t>(found.first), static_cast<int64_t>(found.bytes));

  // One entry per record: its CRC-32 and name, then an extra field and a comment that are skipped.
  size_t at = 0;
  for (uint64_t entry = 0; entry < found.entries; ++entry) {
    if (directory.size() - at < kEntryBytes || directory.compare(at, 4, "PK\1\2") != 0)
      fail(path, "a damaged directory");

    const size_t name_bytes = number_at<uint16_t>(directory, at + 28),
                 more = number_at<uint16_t>(directory, at + 30) +
                        size_t{number_at<uint16_t>(directory, at + 32)};
    if (directory.size() - at < kEntryBytes + name_bytes + more) fail(path, "a damaged directory");

    // All records lie in one folder, named after the file that was saved.
    const auto name = directory.substr(at + kEntryBytes, name_bytes);
    crcs_.emplace(name.substr(name.find('/') + 1), number_at<uint32_t>(directory, at + 16));
    at += kEntryBytes + name_bytes + more;
  }
}

void ZipChecksums::check(const std::string& record, const void* bytes, int64_t count) const {
  const auto known = crcs_.find(record);
  DISSENT_CHECK(known != crcs_.end(), kData,
                "{}: expected a record {} in its directory, found none", path_, record);

  // The record was written without a checksum.
  if (known->second == 0) return;

  // crc32() takes a length of 32 bits: large records are read in pieces.
  constexpr int64_t kPiece = int64_t{1} << 30;
  uLong found = crc32(0, nullptr, 0);
  const auto* data = static_cast<const Bytef*>(bytes);
  for (int64_t done = 0; done < count; done += kPiece)
    found = crc32(found, data + done, static_cast<uInt>(std::min(kPiece, count - done)));
  DISSENT_CHECK(
      found == known->second, kData,
      "{}: {}: damaged: expected CRC-32 {:08x} by its directory, found {:08x}; copy the file "
      "again",
      path_, record, known->second, found);
}

}  // namespace dissent
