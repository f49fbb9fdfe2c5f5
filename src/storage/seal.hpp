#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace dissent {

// Our HDF5 files end in a seal: bytes after HDF5's own end of file (HDF5, h5py and h5dump ignore
// them) with a checksum of each 256 KiB of each dataset's values and one of all other bytes. No
// byte of a file is used unchecked: the metadata is checked before HDF5 parses it, values when they
// are read. Checksums are XXH3_64 with seed 0. Layout, all little-endian:
//   table:   u64 block bytes, u64 datasets, per dataset {u64 length of name, name, u64 offset,
//            u64 bytes, u64 checksum of each block}, by offset; u64 checksum of all bytes of the
//            HDF5 part outside these datasets
//   trailer: u64 bytes of the HDF5 part, u64 bytes of the table, u64 version, u64 checksum of table
//            and these three numbers, 8 characters "DSNTSEAL"

inline constexpr int64_t kSealBlockBytes = int64_t{1} << 18;

/// Where the values of a dataset are stored.
struct DataRange {
  std::string name;
  int64_t offset = 0, bytes = 0;
};

/// Appends the seal to a closed HDF5 file that still has its temporary name. The ranks share the
/// reading of values and pass the same ranges. Collective; the same error on every rank:
/// Error::kData (disk full), Error::kInternal (ranges that overlap or exceed the file).
void write_seal(const std::string& path, std::vector<DataRange> ranges, Communicator& comm);

/// The seal of a file; reads values and checks them.
class Seal {
 public:
  /// Reads the seal and checks all bytes except values; null for a file without a seal.
  /// Error::kData: damaged, or not a regular file.
  static std::shared_ptr<const Seal> of(const std::string& path);

  /// Number of the dataset whose values are stored there; -1 if there is none.
  int64_t find(int64_t offset, int64_t bytes) const;
  int64_t datasets() const { return static_cast<int64_t>(data_.size()); }
  /// Number of checksums of all datasets.
  int64_t blocks() const;
  /// Reads bytes [first, first + bytes) of a dataset's values to `out` and checks each block that
  /// they touch: blocks read completely every time, others once per process. Error::kData with
  /// file, dataset, bytes and both checksums. Thread-safe.
  void read(int64_t dataset, int64_t first, int64_t bytes, void* out) const;
  /// Checks the blocks that contain these bytes, unless they were checked before. Error::kData as
  /// in read(). Thread-safe.
  void check(int64_t dataset, int64_t first, int64_t bytes) const;
  /// Checks every block, including those checked before.
  void verify() const;

 private:
  struct Data {
    DataRange range;
    std::vector<uint64_t> hashes;
    mutable std::vector<std::atomic<bool>> checked;
  };
  void check_block(const Data& data, int64_t block, const void* bytes) const;
  std::string path_;
  std::vector<std::unique_ptr<const Data>> data_;  // by offset
};

/// XXH3_64 of a whole file: "xxh3:" and 16 hexadecimal digits.
std::string file_checksum(const std::string& path);
/// Reads bytes [offset, offset + bytes) of a file. Error::kData: truncated, or the system's reason.
void read_file_bytes(const std::string& path, int64_t offset, int64_t bytes, void* out);

}  // namespace dissent
