#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "storage/cache_manifest.hpp"

namespace dissent {

/// Reads features from a cache folder of ours or one of SED's HDF5 files (`embed` [N * passes, D],
/// `label` and `index` [.., 1], floats). Opening checks everything but the values: manifest,
/// presence, shape, dtype and size of each shard (of a SED file, labels and indices are read and
/// have to be whole numbers); Error::kData names file, expected, found.
/// Not collective. Reads of contiguous datasets (all of ours) are plain preads: any thread may read
/// while others do, see concurrent_reads().
class FeatureCache {
 public:
  static FeatureCache open(const std::string& path);
  FeatureCache(FeatureCache&&) noexcept;
  FeatureCache& operator=(FeatureCache&&) noexcept;
  ~FeatureCache();

  const std::string& path() const;
  /// SED files: passes from where index restarts at its first value; classes = largest label + 1;
  /// other texts empty.
  const CacheSpec& spec() const;
  int64_t rows() const { return spec().rows(); }
  int64_t dim() const { return spec().dim; }
  at::ScalarType dtype() const { return spec().dtype; }
  int64_t passes() const { return spec().passes; }
  int64_t rows_per_pass() const { return spec().rows_per_pass; }
  int64_t classes() const { return spec().classes; }
  const std::vector<ShardEntry>& shards() const;
  /// Whether read_rows may run in several threads (else HDF5 is behind it: one thread).
  bool concurrent_reads() const;

  /// Rows [first, first + count) across shards. Error::kInternal if they are not all in 0 .. rows()
  /// - 1.
  void read_rows(int64_t first, int64_t count, float* out) const;
  at::Tensor read_rows(int64_t first, int64_t count) const;  ///< [count, D] f32
  /// The same in the file's dtype: count * D values to `out`.
  void read_raw(int64_t first, int64_t count, void* out) const;
  at::Tensor read_labels(int64_t first, int64_t count) const;  ///< [count] i64
  at::Tensor read_index(int64_t first,
                        int64_t count) const;  ///< [count] i64, position in the source set

  /// Reads everything and compares checksums: Error::kData naming the first shard that differs. A
  /// SED file has none: nothing to check.
  void verify() const;
  /// The same, shards shared out over the ranks. Collective.
  void verify(Communicator& comm) const;
  /// Every label is in 0 .. classes - 1, or -1 where `allow_unknown`: else Error::kData naming row,
  /// value and range.
  void check_labels(int64_t classes, bool allow_unknown) const;

 private:
  struct Impl;
  explicit FeatureCache(std::unique_ptr<Impl> impl);
  void verify_shard(size_t shard) const;
  std::unique_ptr<Impl> impl_;
};

/// Error::kData naming file, row (first_row + i) and column of the first value that is NaN or Inf.
/// values [n, D], floating, host.
void check_finite(const at::Tensor& values, int64_t first_row, const std::string& path);
/// Error::kData naming row and value of the first label outside the range. labels [n] i64, host.
void check_label_range(const at::Tensor& labels, int64_t first_row, int64_t classes,
                       bool allow_unknown, const std::string& path);

}  // namespace dissent
