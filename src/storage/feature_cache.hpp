#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "storage/cache_manifest.hpp"

namespace dissent {

/// Reads features from a cache folder or from one of SED's HDF5 files (`embed` [N * passes, D],
/// `label` and `index` [.., 1], floats). Opening checks everything except the values: the manifest
/// and existence, shape, dtype and size of each shard (labels and indices of a SED file are read
/// and have to be whole numbers). Error::kData with file, expected, found.
/// Not collective. Contiguous datasets (those of all cache folders) are read with pread, by any
/// number of threads at once; see concurrent_reads().
class FeatureCache {
 public:
  /// Opens a cache folder or a SED file. An incomplete cache is an error that says how to resume
  /// it.
  static FeatureCache open(const std::string& path);
  FeatureCache(FeatureCache&&) noexcept;
  FeatureCache& operator=(FeatureCache&&) noexcept;
  ~FeatureCache();

  const std::string& path() const;
  /// For SED files: passes are counted from the places where index restarts at its first value,
  /// classes = largest label + 1, and the texts are empty.
  const CacheSpec& spec() const;
  int64_t rows() const { return spec().rows(); }
  int64_t dim() const { return spec().dim; }
  at::ScalarType dtype() const { return spec().dtype; }
  int64_t passes() const { return spec().passes; }
  int64_t rows_per_pass() const { return spec().rows_per_pass; }
  int64_t classes() const { return spec().classes; }
  const std::vector<ShardEntry>& shards() const;
  /// Whether read_rows is thread-safe; if not, rows are read through HDF5, by one thread only.
  bool concurrent_reads() const;

  /// Features of rows [first, first + count), across shards, as f32: count * D values, row by row.
  /// Error::kInternal if the rows are not all in 0 .. rows() - 1.
  void read_rows(int64_t first, int64_t count, float* out) const;
  at::Tensor read_rows(int64_t first, int64_t count) const;  ///< [count, D] f32
  /// The same without conversion: count * D values in the file's dtype.
  void read_raw(int64_t first, int64_t count, void* out) const;
  at::Tensor read_labels(int64_t first, int64_t count) const;  ///< [count] i64
  at::Tensor read_index(int64_t first,
                        int64_t count) const;  ///< [count] i64, position in the source set

  /// Reads everything and compares checksums: Error::kData with the first shard that differs. SED
  /// files have no checksums: nothing is checked.
  void verify() const;
  /// The same with the shards distributed over the ranks. Collective.
  void verify(Communicator& comm) const;
  /// Error::kData with row, value and range unless every label is in 0 .. classes - 1, or -1 if
  /// `allow_unknown`.
  void check_labels(int64_t classes, bool allow_unknown) const;

 private:
  struct Impl;
  explicit FeatureCache(std::unique_ptr<Impl> impl);
  void verify_shard(size_t shard) const;
  std::unique_ptr<Impl> impl_;
};

/// Error::kData with file, row (first_row + i) and column of the first value that is NaN or Inf.
/// values [n, D], floating point, host.
void check_finite(const at::Tensor& values, int64_t first_row, const std::string& path);
/// Error::kData with row and value of the first label outside the range. labels [n] i64, host.
void check_label_range(const at::Tensor& labels, int64_t first_row, int64_t classes,
                       bool allow_unknown, const std::string& path);

}  // namespace dissent
