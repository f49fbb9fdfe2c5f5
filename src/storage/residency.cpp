#include "storage/residency.hpp"

#include <cstring>

#include "comm/mpi.hpp"
#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kSpanRows = 4096;  // rows read at once where a selection has gaps

int64_t aligned(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

// Where embed, labels and index lie in one allocation.
struct Layout {
  Layout(const FeatureCache& cache, int64_t rows)
      : labels(aligned(rows * cache.dim() * static_cast<int64_t>(c10::elementSize(cache.dtype())))), index(labels + aligned(rows * 8)),
        total(index + aligned(rows * 8)) {}
  int64_t labels, index, total;
};

// Ranges of cache rows behind places [first, end) of the selection.
std::vector<RowRange> cut(const std::vector<RowRange>& ranges, int64_t first, int64_t end) {
  std::vector<RowRange> out;
  int64_t place = 0;
  for (const auto& range : ranges) {
    const int64_t low = std::max(first, place), high = std::min(end, place + range.count);
    if (low < high) out.push_back({range.first + low - place, high - low});
    place += range.count;
    if (place >= end) break;
  }
  return out;
}

// Reads ranges one after another to `out`. Neighbours within a span are read at once and their rows copied.
void read_ranges(const FeatureCache& cache, const std::vector<RowRange>& ranges, char* embed, int64_t* labels, int64_t* index) {
  const int64_t row_bytes = cache.dim() * static_cast<int64_t>(c10::elementSize(cache.dtype()));
  std::vector<char> buffer;
  for (size_t at = 0; at < ranges.size();) {
    size_t stop = at + 1;
    while (stop < ranges.size() && ranges[stop].first + ranges[stop].count - ranges[at].first <= kSpanRows) ++stop;
    const int64_t first = ranges[at].first, rows = ranges[stop - 1].first + ranges[stop - 1].count - first;
    const auto span_labels = cache.read_labels(first, rows), span_index = cache.read_index(first, rows);
    if (stop > at + 1) buffer.resize(rows * row_bytes);
    cache.read_raw(first, rows, stop > at + 1 ? buffer.data() : embed);
    for (; at < stop; ++at) {
      const int64_t skip = ranges[at].first - first, count = ranges[at].count;
      if (!buffer.empty()) std::memcpy(embed, buffer.data() + skip * row_bytes, count * row_bytes);
      std::memcpy(labels, span_labels.const_data_ptr<int64_t>() + skip, count * sizeof(int64_t));
      std::memcpy(index, span_index.const_data_ptr<int64_t>() + skip, count * sizeof(int64_t));
      embed += count * row_bytes, labels += count, index += count;
    }
    buffer.clear();
  }
}

template <class T>
at::Tensor take_values(const at::Tensor& values, std::span<const int64_t> rows) {
  auto out = at::empty({static_cast<int64_t>(rows.size())}, values.options());
  const T* from = values.const_data_ptr<T>();
  T* to = out.data_ptr<T>();
  const int64_t size = values.size(0);
  for (const int64_t row : rows) {
    DISSENT_CHECK(row >= 0 && row < size, kInternal, "row {} of {} taken", row, size);
    *to++ = from[row];
  }
  return out;
}

}  // namespace

// The memory: a window that the ranks of a node share, or an ordinary tensor.
struct HostResidency::Window {
  Communicator* node = nullptr;
  MPI_Win handle = MPI_WIN_NULL;
  at::Tensor own;
  char* data = nullptr;

  void allocate(Communicator& group, int64_t bytes) {
    node = &group;
    if (group.size() == 1) {
      own = at::empty({bytes}, at::kByte);
      data = static_cast<char*>(own.data_ptr());
      return;
    }
    // Rank 0's segment is the whole; the pages settle where the rank that first writes them runs.
    void* base = nullptr;
    DISSENT_MPI(MPI_Win_allocate_shared(group.rank() == 0 ? bytes : 0, 1, MPI_INFO_NULL, mpi_handle(group), &base, &handle));
    DISSENT_MPI(MPI_Win_set_errhandler(handle, MPI_ERRORS_RETURN));
    MPI_Aint size = 0;
    int unit = 0;
    DISSENT_MPI(MPI_Win_shared_query(handle, 0, &size, &unit, &base));
    DISSENT_CHECK(size >= bytes, kComm, "the shared window has {} bytes, {} were asked for", size, bytes);
    data = static_cast<char*>(base);
    DISSENT_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, handle));
  }

  // Makes every rank's writes visible to the others.
  void publish() {
    if (handle == MPI_WIN_NULL) return;
    DISSENT_MPI(MPI_Win_sync(handle));
    node->barrier();
    DISSENT_MPI(MPI_Win_sync(handle));
  }

  void free() {
    if (handle != MPI_WIN_NULL) {
      node->barrier();  // with a timeout, unlike MPI_Win_free
      DISSENT_MPI(MPI_Win_unlock_all(handle));
      DISSENT_MPI(MPI_Win_free(&handle));
    }
    own.reset();
    data = nullptr;
  }
};

HostResidency::HostResidency() : window_(std::make_unique<Window>()) {}
HostResidency::HostResidency(HostResidency&&) noexcept = default;
HostResidency& HostResidency::operator=(HostResidency&&) noexcept = default;
HostResidency::~HostResidency() = default;

int64_t HostResidency::bytes(const FeatureCache& cache, const RowSelection& selection) { return Layout(cache, selection.rows()).total; }

HostResidency HostResidency::load(Communicator& node, const FeatureCache& cache, const RowSelection& selection) {
  HostResidency result;
  result.selection_ = selection;
  const int64_t rows = selection.rows();
  const Layout layout(cache, rows);
  agree(node, [&] {
    if (node.size() > 1 && node.rank() == 0) check_free_space("/dev/shm", layout.total, "host residency of " + cache.path());
  });
  auto& window = *result.window_;
  agree(node, [&] { window.allocate(node, layout.total); });
  auto* labels = reinterpret_cast<int64_t*>(window.data + layout.labels);
  auto* index = reinterpret_cast<int64_t*>(window.data + layout.index);
  result.embed_ = at::from_blob(window.data, {rows, cache.dim()}, cache.dtype());
  result.labels_ = at::from_blob(labels, {rows}, at::kLong);
  result.index_ = at::from_blob(index, {rows}, at::kLong);
  const int64_t first = rows * node.rank() / node.size(), end = rows * (node.rank() + 1) / node.size();
  try {
    agree(node, [&] {
      read_ranges(cache, cut(selection.ranges, first, end), static_cast<char*>(result.embed_.data_ptr()) + first * cache.dim() * result.embed_.element_size(),
                  labels + first, index + first);
      check_finite(result.embed_.narrow(0, first, end - first), first, cache.path());
    });
    window.publish();
  } catch (const Error& error) {
    if (error.agreed()) result.close();
    throw;
  }
  return result;
}

at::Tensor HostResidency::take(std::span<const int64_t> rows) const {
  const int64_t row_bytes = embed_.size(1) * embed_.element_size(), size = embed_.size(0);
  auto out = at::empty({static_cast<int64_t>(rows.size()), embed_.size(1)}, embed_.options());
  const auto* from = static_cast<const char*>(embed_.const_data_ptr());
  auto* to = static_cast<char*>(out.data_ptr());
  for (const int64_t row : rows) {
    DISSENT_CHECK(row >= 0 && row < size, kInternal, "row {} of {} taken", row, size);
    std::memcpy(to, from + row * row_bytes, row_bytes);
    to += row_bytes;
  }
  return out.to(at::kFloat);
}

at::Tensor HostResidency::take_labels(std::span<const int64_t> rows) const { return take_values<int64_t>(labels_, rows); }
at::Tensor HostResidency::take_index(std::span<const int64_t> rows) const { return take_values<int64_t>(index_, rows); }

void HostResidency::close() {
  embed_.reset();
  labels_.reset();
  index_.reset();
  window_->free();
}

}  // namespace dissent
