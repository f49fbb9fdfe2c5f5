#include "storage/residency.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/divide_up.hpp"
#include "storage/selected_rows.hpp"

namespace dissent {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kLoadBytes = 16 << 20;  // read and checked at once

int64_t aligned(int64_t bytes) { return divide_up(bytes, kAlign) * kAlign; }

// Offsets of labels and index behind embed in one allocation.
struct Layout {
  Layout(int64_t rows, int64_t dim, at::ScalarType dtype)
      : labels(aligned(rows * dim * static_cast<int64_t>(c10::elementSize(dtype)))),
        index(labels + aligned(rows * 8)),
        total(index + aligned(rows * 8)) {}
  int64_t labels, index, total;
};

template <class T>
at::Tensor take_values(const at::Tensor& values, std::span<const int64_t> rows) {
  auto out = at::empty({static_cast<int64_t>(rows.size())}, values.options());
  const T* from = values.const_data_ptr<T>();
  T* to = out.data_ptr<T>();
  const int64_t size = values.size(0);
  for (const int64_t row : rows) {
    DISSENT_CHECK(row >= 0 && row < size, kInternal, "expected a row inside 0 .. {1}, found {0}",
                  row, size - 1);
    *to++ = from[row];
  }
  return out;
}

}  // namespace

HostResidency::HostResidency() = default;
HostResidency::HostResidency(HostResidency&&) noexcept = default;
HostResidency& HostResidency::operator=(HostResidency&&) noexcept = default;
HostResidency::~HostResidency() = default;

int64_t HostResidency::bytes(const FeatureCache& cache, const RowSelection& selection) {
  return bytes(selection.rows(), cache.dim(), cache.dtype());
}

int64_t HostResidency::bytes(int64_t rows, int64_t dim, at::ScalarType dtype) {
  return Layout(rows, dim, dtype).total;
}

HostResidency HostResidency::load(Communicator& node, const FeatureCache& cache,
                                  const RowSelection& selection) {
  HostResidency result;
  result.selection_ = selection;
  const int64_t rows = selection.rows();
  const Layout layout(rows, cache.dim(), cache.dtype());

  // One allocation for the whole node: features, labels, index.
  auto& memory = result.memory_;
  memory.allocate(node, layout.total, "host residency of " + cache.path());
  auto* labels = reinterpret_cast<int64_t*>(memory.data() + layout.labels);
  auto* index = reinterpret_cast<int64_t*>(memory.data() + layout.index);
  result.embed_ = at::from_blob(memory.data(), {rows, cache.dim()}, cache.dtype());
  result.labels_ = at::from_blob(labels, {rows}, at::kLong);
  result.index_ = at::from_blob(index, {rows}, at::kLong);

  // Each rank reads its share in pieces, and checks a piece while it is in the processor's cache.
  const int64_t first = rows * node.rank() / node.size(),
                end = rows * (node.rank() + 1) / node.size();
  try {
    agree(node, [&] {
      const int64_t row_bytes = cache.dim() * result.embed_.element_size(),
                    piece = std::max<int64_t>(1, kLoadBytes / row_bytes);
      for (int64_t row = first; row < end; row += piece) {
        const int64_t stop = std::min(end, row + piece);
        read_selected(cache, selection, row, stop, memory.data() + row * row_bytes, labels + row,
                      index + row);
        check_finite(result.embed_.narrow(0, row, stop - row), row, cache.path());
      }
    });

    // An error that all ranks have is thrown on all of them, so the collective close() is safe; an
    // error of this rank alone is not followed by it, since the other ranks would not take part.
    memory.publish();
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
    DISSENT_CHECK(row >= 0 && row < size, kInternal, "expected a row inside 0 .. {1}, found {0}",
                  row, size - 1);
    std::memcpy(to, from + row * row_bytes, row_bytes);
    to += row_bytes;
  }

  // The memory keeps the dtype of the cache, which may be half as large; computation is in f32.
  return out.to(at::kFloat);
}

at::Tensor HostResidency::take_labels(std::span<const int64_t> rows) const {
  return take_values<int64_t>(labels_, rows);
}
at::Tensor HostResidency::take_index(std::span<const int64_t> rows) const {
  return take_values<int64_t>(index_, rows);
}

void HostResidency::close() {
  embed_.reset();
  labels_.reset();
  index_.reset();
  memory_.free();
}

}  // namespace dissent
