#include "storage/chunk_stream.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <future>
#include <utility>

#include "core/divide_up.hpp"
#include "storage/node_memory.hpp"
#include "storage/selected_rows.hpp"

namespace dissent {
namespace {

constexpr int64_t kPieceBytes = 16 << 20;  // read and checked at once
constexpr int64_t kNoChunk = -1;

int64_t feature_bytes(int64_t dim, at::ScalarType dtype) {
  return dim * static_cast<int64_t>(c10::elementSize(dtype));
}
int64_t feature_bytes(const FeatureCache& cache) {
  return feature_bytes(cache.dim(), cache.dtype());
}

}  // namespace

// Chunks are numbered across all passes: id = pass * chunks + chunk. The memory holds the labels of
// both buffers, 2 x [chunk_rows] i64, then their features, 2 x [chunk_rows, D].
struct ChunkStream::Impl {
  Communicator* node;
  FeatureCache cache;
  RowSelection selection;
  int64_t chunk_rows, chunks;
  NodeMemory memory;
  int64_t pass = 0;
  int64_t current = kNoChunk;              // id of the chunk in use
  int64_t held[2] = {kNoChunk, kNoChunk};  // id in each buffer, set when its read starts
  int current_slot = 0;
  std::future<void> read;  // of the buffer that is not current

  Impl(Communicator& group, FeatureCache from, RowSelection rows, int64_t rows_a_chunk)
      : node(&group),
        cache(std::move(from)),
        selection(std::move(rows)),
        chunk_rows(rows_a_chunk > 0 ? std::min(rows_a_chunk, selection.rows_per_pass)
                                    : selection.rows_per_pass),
        chunks(divide_up(selection.rows_per_pass, chunk_rows)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { settle(); }

  int64_t* labels(int slot) const {
    return reinterpret_cast<int64_t*>(memory.data()) + slot * chunk_rows;
  }
  char* embed(int slot) const {
    return memory.data() + 2 * chunk_rows * static_cast<int64_t>(sizeof(int64_t)) +
           slot * chunk_rows * feature_bytes(cache);
  }
  int64_t first_place(int64_t id) const {
    return id / chunks * selection.rows_per_pass + id % chunks * chunk_rows;
  }
  int64_t rows_of(int64_t id) const {
    return std::min(chunk_rows, selection.rows_per_pass - id % chunks * chunk_rows);
  }
  // The buffer for a chunk. The current buffer is never given to another chunk.
  int slot_of(int64_t id) const {
    return id == current ? current_slot : current == kNoChunk ? 0 : 1 - current_slot;
  }

  // Reads this rank's share. A rank always fills the same rows of a buffer, whatever the chunk's
  // length, so an abandoned read of one rank never overlaps the next read of another.
  void read_share(int64_t id, int slot) const {
    const int64_t rows = rows_of(id), place = first_place(id), bytes = feature_bytes(cache),
                  piece = std::max<int64_t>(1, kPieceBytes / bytes);
    const int64_t first = chunk_rows * node->rank() / node->size(),
                  end = std::min(rows, chunk_rows * (node->rank() + 1) / node->size());

    // In pieces that are checked for NaN and Inf while they are in the processor's cache.
    for (int64_t row = first; row < end; row += piece) {
      const int64_t count = std::min(piece, end - row);
      char* to = embed(slot) + row * bytes;
      read_selected(cache, selection, place + row, place + row + count, to, labels(slot) + row,
                    nullptr);
      check_finite(at::from_blob(to, {count, cache.dim()}, cache.dtype()), place + row,
                   cache.path());
    }
  }

  // Waits for the running read and ignores its outcome.
  void settle() noexcept {
    if (!read.valid()) return;
    if (read.wait_for(std::chrono::seconds(0)) != std::future_status::deferred) read.wait();
    read = {};
  }

  // Starts reading a chunk into the buffer that is not current, unless it already holds the chunk.
  void fetch(int64_t id) {
    const int slot = slot_of(id);
    if (held[slot] == id) return;
    settle();
    held[slot] = id;

    // HDF5 is not thread-safe: where it has to decode the file, the read is deferred to the thread
    // that waits for it.
    const auto policy = cache.concurrent_reads() ? std::launch::async : std::launch::deferred;
    read = std::async(policy, [this, id, slot] { read_share(id, slot); });
  }

  void make_current(int64_t id) {
    // agree() turns an error of one rank's share into the same error on every rank, so that no rank
    // waits in publish().
    if (id != current) {
      fetch(id);
      const int slot = slot_of(id);
      try {
        agree(*node, [&] {
          if (read.valid()) read.get();
        });
      } catch (...) {
        held[slot] = kNoChunk;  // a later call reads it again
        throw;
      }

      // The chunk is complete once every rank has read its share.
      memory.publish();
      current = id, current_slot = slot;
    }

    // Every rank has taken its rows of the previous chunk before it came here, so that buffer is
    // free. The chunk after the last one is the first of the next pass.
    fetch((id + 1) % (chunks * selection.passes));
  }

  template <class Copy>
  void for_rows(std::span<const int64_t> rows, const Copy& copy) const {
    DISSENT_CHECK(current != kNoChunk, kInternal, "{}: expected a current chunk, found none",
                  cache.path());
    const int64_t first = first_place(current), count = rows_of(current);
    for (const int64_t row : rows) {
      DISSENT_CHECK(row >= first && row < first + count, kInternal,
                    "{0}: expected a row of the current chunk, {2} .. {3}, found {1}", cache.path(),
                    row, first, first + count - 1);
      copy(row - first);
    }
  }
};

ChunkStream::ChunkStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChunkStream::ChunkStream(ChunkStream&&) noexcept = default;
ChunkStream& ChunkStream::operator=(ChunkStream&&) noexcept = default;
ChunkStream::~ChunkStream() = default;

ChunkStream ChunkStream::open(Communicator& node, FeatureCache cache, RowSelection selection,
                              int64_t chunk_rows) {
  DISSENT_CHECK(
      chunk_rows >= 0 && selection.rows_per_pass > 0 && selection.passes > 0, kInternal,
      "{}: expected positive sizes, found a stream of {} passes of {} rows in chunks of {}",
      cache.path(), selection.passes, selection.rows_per_pass, chunk_rows);
  auto impl = std::make_unique<Impl>(node, std::move(cache), std::move(selection), chunk_rows);
  impl->memory.allocate(node, bytes(impl->cache, impl->chunk_rows),
                        "stream of " + impl->cache.path());
  return ChunkStream(std::move(impl));
}

int64_t ChunkStream::rows() const { return impl_->selection.rows(); }
int64_t ChunkStream::dim() const { return impl_->cache.dim(); }
int64_t ChunkStream::passes() const { return impl_->selection.passes; }
int64_t ChunkStream::rows_per_pass() const { return impl_->selection.rows_per_pass; }
int64_t ChunkStream::chunk_rows() const { return impl_->chunk_rows; }
int64_t ChunkStream::chunks() const { return impl_->chunks; }

void ChunkStream::start_pass(int64_t pass, int64_t first_chunk) {
  DISSENT_CHECK(pass >= 0 && pass < passes() && first_chunk >= 0 && first_chunk < chunks(),
                kInternal, "expected chunk 0 .. {} of pass 0 .. {}, found chunk {} of pass {}",
                chunks() - 1, passes() - 1, first_chunk, pass);
  impl_->pass = pass;
  impl_->fetch(pass * chunks() + first_chunk);
}

void ChunkStream::chunk(int64_t chunk) {
  DISSENT_CHECK(chunk >= 0 && chunk < chunks(), kInternal, "expected chunk 0 .. {}, found {}",
                chunks() - 1, chunk);
  impl_->make_current(impl_->pass * chunks() + chunk);
}

at::Tensor ChunkStream::take(std::span<const int64_t> rows) const {
  auto out = at::empty({static_cast<int64_t>(rows.size()), dim()}, impl_->cache.dtype());
  const int64_t bytes = feature_bytes(impl_->cache);
  const char* from = impl_->embed(impl_->current_slot);
  auto* to = static_cast<char*>(out.data_ptr());
  impl_->for_rows(rows, [&](int64_t row) {
    std::memcpy(to, from + row * bytes, bytes);
    to += bytes;
  });
  return out.to(at::kFloat);
}

at::Tensor ChunkStream::take_labels(std::span<const int64_t> rows) const {
  auto out = at::empty({static_cast<int64_t>(rows.size())}, at::kLong);
  const int64_t* from = impl_->labels(impl_->current_slot);
  auto* to = out.data_ptr<int64_t>();
  impl_->for_rows(rows, [&](int64_t row) { *to++ = from[row]; });
  return out;
}

void ChunkStream::close() {
  impl_->settle();
  impl_->current = impl_->held[0] = impl_->held[1] = kNoChunk;
  impl_->memory.free();
}

int64_t ChunkStream::bytes(const FeatureCache& cache, int64_t chunk_rows) {
  return bytes(chunk_rows, cache.dim(), cache.dtype());
}
int64_t ChunkStream::bytes(int64_t chunk_rows, int64_t dim, at::ScalarType dtype) {
  return 2 * chunk_rows * (feature_bytes(dim, dtype) + static_cast<int64_t>(sizeof(int64_t)));
}
int64_t ChunkStream::largest_chunk(const FeatureCache& cache, int64_t bytes) {
  return bytes / ChunkStream::bytes(cache, 1);
}

}  // namespace dissent
