#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "storage/cache_manifest.hpp"
#include "storage/h5.hpp"

namespace dissent {

/// The largest label that a file without a manifest may have (2^20 classes): a larger value is
/// damaged or not a class, and each class costs memory in every network.
inline constexpr int64_t kLargestLabel = (int64_t{1} << 20) - 1;

/// Datasets of a shard or a SED file.
inline constexpr const char* kEmbedDataset = "embed";
inline constexpr const char* kLabelDataset = "label";
inline constexpr const char* kIndexDataset = "index";
/// Format of a shard. Version 1 had no seal.
inline constexpr const char* kShardFormat = "dissent-cache-shard";
inline constexpr int64_t kShardVersion = 2;

/// One HDF5 file with embed [rows, D] (f32, f16 or bf16), label and index [rows] or [rows, 1] (i32
/// and i64 in a shard, floats in a SED file): a shard of a feature cache or a SED file. Datasets
/// stored exactly as in memory are read with pread, by any thread; others through HDF5, by one
/// thread.
struct CacheFile {
  std::string path;
  int64_t rows = 0;
  DatasetInfo embed, label, index;
  std::shared_ptr<const Seal> seal;  ///< of a file of ours: values are checked while they are read
  UniqueHandle file;                 ///< kept open only when some dataset needs HDF5

  /// Error::kData with file, expected and found: not an HDF5 file, truncated, a dataset missing or
  /// with a wrong shape or type.
  static CacheFile open(const std::string& path);
  /// Whether read() may be called by several threads at once.
  bool concurrent_reads() const { return !file.valid(); }
  /// Rows [first, first + count) of one of the three, in its own dtype; `out` has room for them.
  /// Error::kData: a checksum differs, the file is truncated, or HDF5 cannot decode it.
  void read(const DatasetInfo& info, const char* name, int64_t first, int64_t count,
            void* out) const;
  void read_embed(int64_t first, int64_t count, void* out) const {
    read(embed, kEmbedDataset, first, count, out);
  }
  at::Tensor read_label(int64_t first, int64_t count) const;  ///< [count], file's dtype
  at::Tensor read_index(int64_t first, int64_t count) const;  ///< [count], file's dtype
};

/// Opens a shard and compares it with the manifest: existence, size, rows, D, dtypes. Error::kData
/// for the first difference. Not collective.
CacheFile open_shard(const std::string& folder, const ShardEntry& entry, const CacheSpec& spec);

/// What a file without a manifest (SED's layout) holds.
struct SedLayout {
  CacheSpec spec;
  bool counted_index = false;  ///< index is first_index, first_index + 1, ...: floats are exact to
                               ///< 2^24 only, so positions are counted
  int64_t first_index = 0;
};
/// Reads all labels and indices. Error::kData: labels or positions that are not whole numbers,
/// labels above kLargestLabel or below -1, passes of different length, positions that f32 cannot
/// represent.
SedLayout scan_sed_file(const CacheFile& file);

}  // namespace dissent
