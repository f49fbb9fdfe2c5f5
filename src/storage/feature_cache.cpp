#include "storage/feature_cache.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "storage/atomic_file.hpp"
#include "storage/cache_checksum.hpp"
#include "storage/cache_file.hpp"

namespace dissent {
namespace {

constexpr int64_t kReadRows = 64 * kHashBlockRows;  // rows per piece where a buffer is needed
constexpr int64_t kLabelRows = 1 << 20;

// Whether any value is NaN or Inf, that is, has all bits of its exponent set. Done on the bits,
// since at::isfinite allocates three temporaries of the values' size.
template <class Bits>
bool any_exponent_full(const void* values, int64_t count, Bits exponent) {
  const auto* bits = static_cast<const Bits*>(values);
  Bits found = 0;
  for (int64_t i = 0; i < count; ++i) found |= static_cast<Bits>((bits[i] & exponent) == exponent);
  return found != 0;
}

// Masks: the exponent bits of IEEE f32 (8), IEEE f16 (5) and bf16 (8).
bool all_finite(const at::Tensor& values) {
  if (!values.is_contiguous()) return at::isfinite(values).all().item<bool>();
  const void* data = values.const_data_ptr();
  switch (values.scalar_type()) {
    case at::kFloat: return !any_exponent_full<uint32_t>(data, values.numel(), 0x7f800000);
    case at::kHalf: return !any_exponent_full<uint16_t>(data, values.numel(), 0x7c00);
    case at::kBFloat16: return !any_exponent_full<uint16_t>(data, values.numel(), 0x7f80);
    default: return at::isfinite(values).all().item<bool>();
  }
}

}  // namespace

struct FeatureCache::Impl {
  std::string path;
  CacheSpec spec;
  std::vector<ShardEntry> shards;
  std::vector<CacheFile> files;  // of the shards
  bool has_checksums = false;
  SedLayout sed;  // of a file without a manifest

  // Calls piece(file, first row within it, count) for each shard that holds some of the rows, in
  // their order.
  template <class Piece>
  void for_each(int64_t first, int64_t count, const Piece& piece) const {
    DISSENT_CHECK(first >= 0 && count >= 0 && first + count <= spec.rows(), kInternal,
                  "{0}: expected rows inside 0 .. {3}, found {1} .. {2}", path, first,
                  first + count - 1, spec.rows() - 1);

    // The shard of `first` is the last one that begins at or before it.
    auto at = std::upper_bound(
        shards.begin(), shards.end(), first,
        [](int64_t row, const ShardEntry& shard) { return row < shard.first_row; });
    for (size_t shard = at - shards.begin() - 1; count > 0; ++shard) {
      const int64_t skip = first - shards[shard].first_row,
                    rows = std::min(count, shards[shard].rows - skip);
      piece(files[shard], skip, rows);
      first += rows, count -= rows;
    }
  }
};

FeatureCache::FeatureCache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FeatureCache::FeatureCache(FeatureCache&&) noexcept = default;
FeatureCache& FeatureCache::operator=(FeatureCache&&) noexcept = default;
FeatureCache::~FeatureCache() = default;

FeatureCache FeatureCache::open(const std::string& path) {
  namespace fs = std::filesystem;
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  std::error_code ignored;
  DISSENT_CHECK(path_exists(path), kData, "{}: no such feature cache", path);

  // A single HDF5 file is a cache of SED: the whole file is one shard without a checksum.
  if (!fs::is_directory(path, ignored)) {
    impl->files.push_back(CacheFile::open(path));
    impl->sed = scan_sed_file(impl->files[0]);
    impl->spec = impl->sed.spec;
    impl->shards.push_back({fs::path(path).filename().string(), 0, impl->spec.rows(), ""});
    return FeatureCache(std::move(impl));
  }

  // A cache without its final manifest is still being written, or its writer was stopped.
  const std::string name = path + "/" + kManifestName, partial = path + "/" + kPartialManifestName;
  if (!path_exists(name) && path_exists(partial)) {
    const auto manifest = parse_manifest(read_text(partial), partial);
    DISSENT_FAIL(
        kData,
        "{0}: incomplete: expected {2} shards, found {1}; run `dissent cache` again to resume",
        path, manifest.shards.size(), plan_shards(manifest.spec).size());
  }
  DISSENT_CHECK(path_exists(name), kData, "{}: not a feature cache: expected {}, found none", path,
                kManifestName);

  // The shards of the manifest have to cover all rows, and each has to be present and intact.
  auto manifest = parse_manifest(read_text(name), name);
  const int64_t found =
      manifest.shards.empty() ? 0 : manifest.shards.back().first_row + manifest.shards.back().rows;
  DISSENT_CHECK(found == manifest.spec.rows(), kData,
                "{0}: expected shards with {2} rows in total, found {1}", name, found,
                manifest.spec.rows());
  for (const auto& shard : manifest.shards)
    impl->files.push_back(open_shard(path, shard, manifest.spec));

  impl->spec = std::move(manifest.spec);
  impl->shards = std::move(manifest.shards);
  impl->has_checksums = true;
  return FeatureCache(std::move(impl));
}

const std::string& FeatureCache::path() const { return impl_->path; }
const CacheSpec& FeatureCache::spec() const { return impl_->spec; }
const std::vector<ShardEntry>& FeatureCache::shards() const { return impl_->shards; }

bool FeatureCache::concurrent_reads() const {
  return std::all_of(impl_->files.begin(), impl_->files.end(),
                     [](const CacheFile& file) { return file.concurrent_reads(); });
}

void FeatureCache::read_raw(int64_t first, int64_t count, void* out) const {
  auto* bytes = static_cast<char*>(out);
  const int64_t row_bytes = dim() * static_cast<int64_t>(c10::elementSize(dtype()));
  impl_->for_each(first, count, [&](const CacheFile& file, int64_t row, int64_t rows) {
    file.read_embed(row, rows, bytes);
    bytes += rows * row_bytes;
  });
}

void FeatureCache::read_rows(int64_t first, int64_t count, float* out) const {
  // f32 needs no conversion; other dtypes go through a buffer of a few rows.
  if (dtype() == at::kFloat) return read_raw(first, count, out);
  const int64_t end = first + count;
  for (; first < end; first += kReadRows) {
    const int64_t rows = std::min(kReadRows, end - first);
    auto raw = at::empty({rows, dim()}, dtype());
    read_raw(first, rows, raw.data_ptr());
    at::from_blob(out, {rows, dim()}, at::kFloat).copy_(raw);
    out += rows * dim();
  }
}

at::Tensor FeatureCache::read_rows(int64_t first, int64_t count) const {
  auto values = at::empty({count, dim()}, at::kFloat);
  read_rows(first, count, values.data_ptr<float>());
  return values;
}

at::Tensor FeatureCache::read_labels(int64_t first, int64_t count) const {
  std::vector<at::Tensor> pieces{at::empty({0}, at::kLong)};
  impl_->for_each(first, count, [&](const CacheFile& file, int64_t row, int64_t rows) {
    pieces.push_back(file.read_label(row, rows).to(at::kLong));
  });
  return at::cat(pieces);
}

at::Tensor FeatureCache::read_index(int64_t first, int64_t count) const {
  // The index of a SED file that counts up is computed, since its floats may be rounded
  // (SedLayout).
  if (impl_->sed.counted_index)
    return at::arange(first, first + count, at::kLong)
        .remainder_(rows_per_pass())
        .add_(impl_->sed.first_index);
  std::vector<at::Tensor> pieces{at::empty({0}, at::kLong)};
  impl_->for_each(first, count, [&](const CacheFile& file, int64_t row, int64_t rows) {
    pieces.push_back(file.read_index(row, rows).to(at::kLong));
  });
  return at::cat(pieces);
}

void FeatureCache::verify_shard(size_t shard) const {
  // kReadRows is a multiple of the hash block, so each piece starts at a block.
  const auto& file = impl_->files[shard];
  std::vector<int64_t> blocks;
  for (int64_t row = 0; row < file.rows; row += kReadRows) {
    const int64_t rows = std::min(kReadRows, file.rows - row);
    auto embed = at::empty({rows, dim()}, dtype());
    file.read_embed(row, rows, embed.data_ptr());
    const auto hashes = block_hashes(embed, file.read_label(row, rows), file.read_index(row, rows));
    blocks.insert(blocks.end(), hashes.begin(), hashes.end());
  }

  const auto found = shard_checksum(blocks);
  DISSENT_CHECK(found == impl_->shards[shard].checksum, kData,
                "{}: damaged: expected checksum {}, found {}", file.path,
                impl_->shards[shard].checksum, found);
}

void FeatureCache::verify() const {
  for (size_t shard = 0; impl_->has_checksums && shard < impl_->files.size(); ++shard)
    verify_shard(shard);
}

void FeatureCache::verify(Communicator& comm) const {
  agree(comm, [&] {
    for (size_t shard = comm.rank(); impl_->has_checksums && shard < impl_->files.size();
         shard += comm.size())
      verify_shard(shard);
  });
}

void FeatureCache::check_labels(int64_t classes, bool allow_unknown) const {
  for (int64_t row = 0; row < rows(); row += kLabelRows)
    check_label_range(read_labels(row, std::min(kLabelRows, rows() - row)), row, classes,
                      allow_unknown, path());
}

void check_finite(const at::Tensor& values, int64_t first_row, const std::string& path) {
  for (int64_t row = 0; row < values.size(0); row += kReadRows) {
    const auto block = values.narrow(0, row, std::min(kReadRows, values.size(0) - row));
    if (all_finite(block)) continue;

    // The fast test only tells that some value is not finite; this one finds its place.
    const auto at = at::isfinite(block).logical_not().nonzero()[0];
    const int64_t i = at[0].item<int64_t>(), column = at[1].item<int64_t>();
    DISSENT_FAIL(kData, "{}: row {}, column {}: expected a finite feature, found {}", path,
                 first_row + row + i, column, block[i][column].item<double>());
  }
}

void check_label_range(const at::Tensor& labels, int64_t first_row, int64_t classes,
                       bool allow_unknown, const std::string& path) {
  const int64_t least = allow_unknown ? -1 : 0;
  const auto* data = labels.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < labels.numel(); ++i) {
    DISSENT_CHECK(data[i] >= least && data[i] < classes, kData,
                  "{0}: label of row {1}: expected {3} .. {4}{5}, found {2}", path, first_row + i,
                  data[i], least, classes - 1,
                  data[i] == -1 ? " (-1 means unknown, and labels are required here)" : "");
  }
}

}  // namespace dissent
