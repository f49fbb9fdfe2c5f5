#include "storage/selected_rows.hpp"

#include <algorithm>
#include <cstring>

namespace dissent {
namespace {

constexpr int64_t kSpanBytes = 4 << 20;

// Ranges of cache rows for places [first, end) of the selection.
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

}  // namespace

void read_selected(const FeatureCache& cache, const RowSelection& selection, int64_t first_place,
                   int64_t end_place, char* embed, int64_t* labels, int64_t* index) {
  const auto ranges = cut(selection.ranges, first_place, end_place);
  const int64_t row_bytes = cache.dim() * static_cast<int64_t>(c10::elementSize(cache.dtype()));
  const int64_t span_rows = std::max<int64_t>(1, kSpanBytes / row_bytes);

  // Ranges that lie within span_rows of each other are read in one piece, gaps included: one long
  // read is faster than many short ones.
  std::vector<char> buffer;
  for (size_t at = 0; at < ranges.size();) {
    size_t stop = at + 1;
    while (stop < ranges.size() &&
           ranges[stop].first + ranges[stop].count - ranges[at].first <= span_rows)
      ++stop;

    // Without gaps the features are read directly to their destination.
    const bool gaps = stop > at + 1;
    const int64_t first = ranges[at].first,
                  rows = ranges[stop - 1].first + ranges[stop - 1].count - first;

    const auto span_labels = cache.read_labels(first, rows);
    const auto span_index = index ? cache.read_index(first, rows) : at::Tensor();
    if (gaps) buffer.resize(rows * row_bytes);
    cache.read_raw(first, rows, gaps ? buffer.data() : embed);

    // Copy the selected parts of the piece.
    for (; at < stop; ++at) {
      const int64_t skip = ranges[at].first - first, count = ranges[at].count;
      if (gaps) std::memcpy(embed, buffer.data() + skip * row_bytes, count * row_bytes);
      std::memcpy(labels, span_labels.const_data_ptr<int64_t>() + skip, count * sizeof(int64_t));
      embed += count * row_bytes, labels += count;
      if (!index) continue;
      std::memcpy(index, span_index.const_data_ptr<int64_t>() + skip, count * sizeof(int64_t));
      index += count;
    }
  }
}

}  // namespace dissent
