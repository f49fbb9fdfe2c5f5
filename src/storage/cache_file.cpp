#include "storage/cache_file.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/ranges.h>

#include "storage/atomic_file.hpp"

namespace dissent {
namespace {

constexpr int64_t kScanRows = 1 << 20;

void check_column(const DatasetInfo& info, const char* name, int64_t rows,
                  const std::string& path) {
  const bool fits = (info.shape.size() == 1 || (info.shape.size() == 2 && info.shape[1] == 1)) &&
                    info.shape[0] == rows;
  DISSENT_CHECK(fits, kData,
                "{0}: {1}: expected [{3}] or [{4}, 1] as embed has {5} rows, found [{2}]", path,
                name, fmt::join(info.shape, ", "), rows, rows, rows);
}

// A column as f64, which is exact for every f32, every i32 and every position of a real set.
at::Tensor whole_numbers(const at::Tensor& column, const char* name, int64_t first,
                         const std::string& path) {
  auto values = column.to(at::kDouble);
  const auto whole = at::isfinite(values).logical_and(values.floor() == values);
  if (!whole.all().item<bool>()) {
    const auto at = whole.logical_not().nonzero()[0].item<int64_t>();
    DISSENT_FAIL(kData, "{}: {} of row {}: expected a whole number, found {}", path, name,
                 first + at, values[at].item<double>());
  }
  return values;
}

// Rows where the index takes its first value again. The order inside a pass does not matter.
std::vector<int64_t> pass_starts(const CacheFile& file) {
  // In pieces of kScanRows rows: an index of a large set would take gigabytes as f64.
  std::vector<int64_t> starts;
  double first_value = 0;
  for (int64_t row = 0; row < file.rows; row += kScanRows) {
    const auto values = whole_numbers(file.read_index(row, std::min(kScanRows, file.rows - row)),
                                      kIndexDataset, row, file.path);
    const auto* data = values.const_data_ptr<double>();
    if (row == 0) first_value = data[0];
    for (int64_t i = 0; i < values.numel(); ++i)
      if (data[i] == first_value) starts.push_back(row + i);
  }
  return starts;
}

// Whether each pass counts up by one from its first value, up to the rounding of the file's type;
// if not, positions have to be exact.
bool counts_up(const CacheFile& file, int64_t rows_per_pass, int64_t first_value) {
  // The expected position is rounded as the file's type rounds it, so that an index that counts up
  // is recognised even above 2^24, where f32 has no odd integers.
  bool counted = true;
  double largest = 0;
  const bool rounds = file.index.dtype == at::kFloat;
  for (int64_t row = 0; row < file.rows; row += kScanRows) {
    const auto values = whole_numbers(file.read_index(row, std::min(kScanRows, file.rows - row)),
                                      kIndexDataset, row, file.path);
    const auto* data = values.const_data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i) {
      const auto position = static_cast<double>(first_value + (row + i) % rows_per_pass);
      counted = counted &&
                data[i] == (rounds ? static_cast<double>(static_cast<float>(position)) : position);
      largest = std::max(largest, data[i]);
    }
  }

  // Any other order needs exact positions, since they cannot be counted.
  DISSENT_CHECK(counted || !rounds || largest < 0x1p24, kData,
                "{}: index: expected consecutive values, or below 2^24 (as far as f32 is "
                "exact), found {}",
                file.path, largest);
  return counted;
}

// The largest label; raises at the first value that cannot be a label.
int64_t largest_label(const CacheFile& file) {
  // Each class costs memory in every network, so a damaged value must not become a number of
  // classes.
  int64_t largest = -1;
  for (int64_t row = 0; row < file.rows; row += kScanRows) {
    const auto values = whole_numbers(file.read_label(row, std::min(kScanRows, file.rows - row)),
                                      kLabelDataset, row, file.path);
    const auto* data = values.const_data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i) {
      DISSENT_CHECK(data[i] >= -1 && data[i] <= static_cast<double>(kLargestLabel), kData,
                    "{}: label of row {}: expected -1 (unknown) .. {}, found {}", file.path,
                    row + i, kLargestLabel, data[i]);
      largest = std::max(largest, static_cast<int64_t>(data[i]));
    }
  }
  return largest;
}

}  // namespace

CacheFile CacheFile::open(const std::string& path) {
  DISSENT_CHECK(path_exists(path), kData, "{}: no such file", path);

  CacheFile result;
  result.path = path;
  UniqueHandle file = h5_open(path);
  result.embed = h5_info(file, kEmbedDataset, path);
  result.label = h5_info(file, kLabelDataset, path);
  result.index = h5_info(file, kIndexDataset, path);

  // The features define the number of rows; labels and positions have to agree with it.
  const auto& shape = result.embed.shape;
  DISSENT_CHECK(shape.size() == 2 && shape[0] > 0 && shape[1] > 0, kData,
                "{}: embed: expected [rows, D], found [{}]", path, fmt::join(shape, ", "));
  const auto dtype = result.embed.dtype;
  DISSENT_CHECK(dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16, kData,
                "{}: embed: expected f32, f16 or bf16, found {}", path, at::toString(dtype));
  result.rows = shape[0];
  check_column(result.label, kLabelDataset, result.rows, path);
  check_column(result.index, kIndexDataset, result.rows, path);

  // HDF5 stays open only if a dataset cannot be read with pread (compressed, chunked, big-endian):
  // then all reads have to come from one thread, since HDF5 is not thread-safe.
  result.seal = h5_seal(file);
  if (result.embed.offset < 0 || result.label.offset < 0 || result.index.offset < 0)
    result.file = std::move(file);
  return result;
}

void CacheFile::read(const DatasetInfo& info, const char* name, int64_t first, int64_t count,
                     void* out) const {
  if (count == 0) return;
  if (info.offset < 0) return h5_read_rows(file, name, first, count, out, info.dtype, path);
  const int64_t row_bytes = (info.shape.size() == 2 ? info.shape[1] : 1) *
                            static_cast<int64_t>(c10::elementSize(info.dtype));

  // Rows of a contiguous dataset lie one after another, so a read needs no HDF5: several threads
  // may read at once.
  if (seal)
    return seal->read(seal->find(info.offset, info.shape[0] * row_bytes), first * row_bytes,
                      count * row_bytes, out);
  read_file_bytes(path, info.offset + first * row_bytes, count * row_bytes, out);
}

at::Tensor CacheFile::read_label(int64_t first, int64_t count) const {
  auto values = at::empty({count}, label.dtype);
  read(label, kLabelDataset, first, count, values.data_ptr());
  return values;
}

at::Tensor CacheFile::read_index(int64_t first, int64_t count) const {
  auto values = at::empty({count}, index.dtype);
  read(index, kIndexDataset, first, count, values.data_ptr());
  return values;
}

CacheFile open_shard(const std::string& folder, const ShardEntry& entry, const CacheSpec& spec) {
  // The size first: it needs no HDF5, and a truncated shard is the most frequent damage.
  const std::string path = folder + "/" + entry.file;
  std::error_code code;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, code));
  DISSENT_CHECK(!code, kData, "{}: expected this shard of the manifest, found none: {}", path,
                code.message());
  DISSENT_CHECK(size >= entry.rows * spec.row_bytes(), kData,
                "{0}: truncated: expected at least {3} bytes for its {2} rows, found {1}", path,
                size, entry.rows, entry.rows * spec.row_bytes());

  // Then everything that the manifest states about the contents.
  auto file = CacheFile::open(path);
  DISSENT_CHECK(file.rows == entry.rows, kData, "{}: expected {} rows, found {}", path, entry.rows,
                file.rows);
  DISSENT_CHECK(file.embed.shape[1] == spec.dim, kData, "{}: embed: expected D = {}, found {}",
                path, spec.dim, file.embed.shape[1]);
  DISSENT_CHECK(file.embed.dtype == spec.dtype, kData, "{}: embed: expected {}, found {}", path,
                dtype_name(spec.dtype), dtype_name(file.embed.dtype));
  DISSENT_CHECK(file.label.dtype == at::kInt && file.index.dtype == at::kLong, kData,
                "{}: label and index: expected i32 and i64, found {} and {}", path,
                at::toString(file.label.dtype), at::toString(file.index.dtype));
  return file;
}

SedLayout scan_sed_file(const CacheFile& file) {
  // A SED file does not store its number of passes: a pass begins wherever the index returns to its
  // first value.
  const auto starts = pass_starts(file);
  SedLayout layout;

  auto& spec = layout.spec;
  spec.dim = file.embed.shape[1];
  spec.dtype = file.embed.dtype;
  spec.passes = static_cast<int64_t>(starts.size());
  spec.rows_per_pass = starts.size() > 1 ? starts[1] : file.rows;

  // All passes have to have the same length, else a row has no counterpart in the other passes.
  for (int64_t pass = 0; pass < spec.passes; ++pass) {
    DISSENT_CHECK(
        starts[pass] == pass * spec.rows_per_pass && file.rows == spec.rows(), kData,
        "{}: index: expected passes of equal length, found it restarting at rows {} of {}",
        file.path,
        fmt::join(starts.begin(), starts.begin() + std::min<size_t>(starts.size(), 8), ", "),
        file.rows);
  }

  // The whole file is one shard. Positions and labels are read once, which also validates them.
  spec.shard_rows = file.rows;
  layout.first_index = file.read_index(0, 1).to(at::kLong).item<int64_t>();
  layout.counted_index = counts_up(file, spec.rows_per_pass, layout.first_index);
  spec.classes = largest_label(file) + 1;
  return layout;
}

}  // namespace dissent
