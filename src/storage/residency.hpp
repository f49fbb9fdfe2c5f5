#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "storage/feature_cache.hpp"
#include "storage/node_memory.hpp"
#include "storage/row_subset.hpp"

namespace dissent {

/// Selected rows of a cache in the memory of a node, one copy for all its ranks (an MPI-3
/// shared-memory window, backed by /dev/shm; an ordinary allocation for a group of one). Features
/// keep the file's dtype, so an f16 or bf16 cache takes half the memory; take() returns f32.
///   auto node = world.split_by_node();
///   auto rows = HostResidency::load(*node, cache, all_rows(cache));
///   auto x = rows.take(batch);  auto y = rows.take_labels(batch);
///   rows.close();
/// R below: selected rows, in the order of the selection. Everything except load and close is local
/// and thread-safe.
class HostResidency {
 public:
  /// Each rank reads its share of the rows. Checks /dev/shm's free space first ("needs 14.7 GiB,
  /// /dev/shm has 1.0 GiB free") and that no feature is NaN or Inf. Error::kData, the same on every
  /// rank of the node. Collective over the node's group, which has to outlive this object.
  static HostResidency load(Communicator& node, const FeatureCache& cache,
                            const RowSelection& selection);
  HostResidency(HostResidency&&) noexcept;
  HostResidency& operator=(HostResidency&&) noexcept;
  /// Never communicates: a window that was not closed stays until MPI_Finalize.
  ~HostResidency();

  int64_t rows() const { return selection_.rows(); }
  int64_t dim() const { return embed_.size(1); }
  int64_t passes() const { return selection_.passes; }
  int64_t rows_per_pass() const { return selection_.rows_per_pass; }
  /// Views of the shared memory, for reading; not valid after close().
  const at::Tensor& embed() const { return embed_; }    ///< [R, D] file's dtype
  const at::Tensor& labels() const { return labels_; }  ///< [R] i64
  const at::Tensor& index() const { return index_; }    ///< [R] i64

  /// Copies rows (each in 0 .. R - 1, else Error::kInternal), in the given order.
  at::Tensor take(std::span<const int64_t> rows) const;         ///< [B, D] f32
  at::Tensor take_labels(std::span<const int64_t> rows) const;  ///< [B] i64
  at::Tensor take_index(std::span<const int64_t> rows) const;   ///< [B] i64

  /// Frees the memory; tensors from embed(), labels() and index() become invalid. Collective over
  /// the node's group.
  void close();
  /// Bytes per node that a selection needs.
  static int64_t bytes(const FeatureCache& cache, const RowSelection& selection);
  /// The same for this many rows of these shapes, before the cache exists.
  static int64_t bytes(int64_t rows, int64_t dim, at::ScalarType dtype);

 private:
  HostResidency();
  RowSelection selection_;
  NodeMemory memory_;
  at::Tensor embed_, labels_, index_;
};

}  // namespace dissent
