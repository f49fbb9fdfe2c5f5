#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "storage/feature_cache.hpp"
#include "storage/row_subset.hpp"

namespace dissent {

/// Selected rows of a cache, read chunk by chunk in bounded memory: two buffers of chunk_rows rows
/// per node. While one chunk is in use, a background thread of each rank reads its share of the
/// next one. The rows of a pass are chunks 0 .. chunks() - 1 in file order; the last chunk may be
/// shorter. The plan shuffles within each chunk, so the row order is the same as with all rows in
/// memory (train/heads/head_plan.hpp, PlanOptions::chunk_rows).
///   auto stream = ChunkStream::open(*node, FeatureCache::open(path), all_rows(cache), 131072);
///   stream.start_pass(0);
///   for (int64_t k = 0; k < stream.chunks(); ++k) {
///     stream.chunk(k);
///     auto x = stream.take(batch);  auto y = stream.take_labels(batch);   // rows of chunk k
///   }
///   stream.close();
/// Features keep the file's dtype in memory; take() returns f32. Files that HDF5 has to decode
/// (chunked or compressed SED files) are read by the calling thread inside chunk(), since HDF5 is
/// not thread-safe.
class ChunkStream {
 public:
  /// `node`: the ranks of one node that read the chunks together (those of one run); has to outlive
  /// this object. chunk_rows: at most one pass (larger values are reduced); 0 means a whole pass.
  /// Error::kData before anything is allocated if the two buffers do not fit into the node's
  /// memory. Collective over `node`.
  static ChunkStream open(Communicator& node, FeatureCache cache, RowSelection selection,
                          int64_t chunk_rows);
  ChunkStream(ChunkStream&&) noexcept;
  ChunkStream& operator=(ChunkStream&&) noexcept;
  /// Waits for a running read; never communicates (a shared window that was not closed stays until
  /// MPI_Finalize).
  ~ChunkStream();

  // Sizes of the selection: rows() = passes() * rows_per_pass(), each of dim() features.
  int64_t rows() const;
  int64_t dim() const;
  int64_t passes() const;
  int64_t rows_per_pass() const;
  int64_t chunk_rows() const;
  int64_t chunks() const;  ///< of a pass

  /// Selects a pass (0 .. passes() - 1) and starts reading its chunk `first_chunk`, unless that is
  /// in memory or being read. Called by every rank of the node; does not communicate.
  void start_pass(int64_t pass, int64_t first_chunk = 0);
  /// Makes a chunk of the pass current: waits for it, then starts reading the following one (after
  /// the last: the first of the next pass). Any order is correct; 0, 1, 2 ... is fast.
  /// Error::kData, the same on every rank of the node: a file that cannot be read, a feature that
  /// is NaN or Inf.
  /// Collective over the node.
  void chunk(int64_t chunk);

  /// Copies rows in the given order. A row is its place in the selection, pass * rows_per_pass() +
  /// row, and has to lie in the current chunk (else Error::kInternal). Local; thread-safe.
  at::Tensor take(std::span<const int64_t> rows) const;         ///< [B, D] f32
  at::Tensor take_labels(std::span<const int64_t> rows) const;  ///< [B] i64

  /// Waits for a running read and frees the memory. Collective over the node.
  void close();

  /// Bytes of the two buffers per node.
  static int64_t bytes(const FeatureCache& cache, int64_t chunk_rows);
  /// The same for rows of these shapes, before the cache exists.
  static int64_t bytes(int64_t chunk_rows, int64_t dim, at::ScalarType dtype);
  /// The largest chunk_rows whose two buffers fit into `bytes`; may be 0.
  static int64_t largest_chunk(const FeatureCache& cache, int64_t bytes);

 private:
  struct Impl;
  explicit ChunkStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dissent
