#include "evaluate/outputs/logits_cache.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "storage/atomic_file.hpp"
#include "storage/cache_manifest.hpp"

namespace dissent {
namespace {

namespace fs = std::filesystem;
constexpr const char* kManifest = "manifest.toml";

// [U, n, X] of the networks and [n, U, X] of the file.
at::Tensor by_row(const at::Tensor& values, at::ScalarType dtype) {
  return values.transpose(0, 1).to(dtype).contiguous();
}

at::Tensor by_unit(const at::Tensor& rows, const std::vector<int64_t>& units) {
  const auto order = at::tensor(at::ArrayRef<int64_t>(units), at::kLong);
  return rows.to(at::kFloat).transpose(0, 1).index_select(0, order);
}

}  // namespace

LogitsCache::LogitsCache(Communicator& comm, LogitsCacheKey key) : key_(std::move(key)) {
  agree(comm, [&] {
    // Rank 0 alone creates and deletes files; agree() lets the others continue when it is done.
    if (comm.rank() != 0) return;
    make_folder(key_.folder);

    // A cache without the soup can be used: the soup is then computed. A cache with a soup that
    // this ensemble does not have can be used if it is complete, since no shard can be added.
    const int64_t units = stored_units();
    bool usable = units > 0;
    for (int64_t shard = 0; units > key_.units && shard < shards(); ++shard)
      usable = usable && fits(shard, units);
    if (usable) return;

    // The identity is another one: outputs of other weights or another set.
    const std::string manifest = key_.folder + "/" + kManifest;
    for (const auto& entry : fs::directory_iterator(key_.folder))
      remove_file(entry.path().string());
    atomic_write_text(manifest, identity(key_.units));
  });

  // Every rank finds out which shards exist; the others will be written.
  int64_t missing = 0;
  agree(comm, [&] {
    key_.units = stored_units();
    for (int64_t shard = 0; shard < shards(); ++shard) {
      present_.push_back(fits(shard, key_.units));
      if (!present_.back()) missing += shard_count(shard);
    }
  });

  // A full disk is found before the pass, not during it.
  agree(comm, [&] {
    // Per row the outputs of all units, and 8 bytes for its label.
    const int64_t bytes = key_.dtype == "f16" ? 2 : 4;
    if (comm.rank() == 0)
      check_free_space(key_.folder, missing * (key_.row_values() * bytes + 8),
                       fmt::format("the logits of {}", key_.place));
  });
}

std::string LogitsCache::identity(int64_t units) const {
  return fmt::format(
      "format = \"dissent logits\"\nversion = 2\nensemble = \"{}\"\nset = \"{}\"\ndtype = "
      "\"{}\"\nrows = {}\nunits = {}\nclasses = {}\nfeatures = {}\nshard_rows = {}\n",
      key_.ensemble, key_.set, key_.dtype, key_.rows, units, key_.classes, key_.feature_dim,
      key_.shard_rows);
}

// Units of the stored cache of this ensemble and set, with or without the soup; 0: no such cache
// exists.
int64_t LogitsCache::stored_units() const {
  const std::string manifest = key_.folder + "/" + kManifest;
  if (!path_exists(manifest)) return 0;
  const auto text = read_text(manifest);
  for (const int64_t units : {key_.members, key_.members + 1})
    if (text == identity(units)) return units;
  return 0;
}

bool LogitsCache::complete() const {
  return std::all_of(present_.begin(), present_.end(), [](bool present) { return present; });
}

std::string LogitsCache::shard_path(int64_t shard) const {
  return fmt::format("{}/shard-{:05}.h5", key_.folder, shard);
}

// A shard with other content than expected counts as missing.
bool LogitsCache::fits(int64_t shard, int64_t units) const {
  const auto path = shard_path(shard);
  if (!path_exists(path)) return false;
  try {
    const auto file = h5_open(path);
    const auto dtype = dtype_from_name(key_.dtype, path);

    // Identity and shapes are checked; a file that cannot be opened counts as missing too.
    const auto has_shape = [&](const char* name, int64_t of_units, int64_t width) {
      const auto info = h5_info(file, name, path);
      return info.dtype == dtype &&
             info.shape == std::vector<int64_t>{shard_count(shard), of_units, width};
    };
    const auto value = h5_read_attribute(file, "/", "identity", path);
    const auto* text = std::get_if<std::string>(&value);
    return text && *text == identity(units) && has_shape("logits", units, key_.classes) &&
           (key_.feature_dim == 0 ||
            has_shape("features", key_.feature_units(units), key_.feature_dim));
  } catch (const Error&) {
    return false;
  }
}

MemberOutputs LogitsCache::read(int64_t first, int64_t count, const std::vector<int64_t>& units,
                                bool features) const {
  const int64_t shard = first / key_.shard_rows, at_row = first % key_.shard_rows;
  DISSENT_CHECK(present_[shard] && at_row + count <= shard_count(shard), kInternal,
                "{}: rows {} .. {}: expected rows of one existing shard", key_.folder, first,
                first + count);

  const auto path = shard_path(shard);

  // Blocks are read in order, so the last shard is kept open.
  if (open_shard_ != shard) open_ = h5_open(path);
  open_shard_ = shard;
  MemberOutputs out{by_unit(h5_read(open_, "logits", at_row, count, path), units), {}, 0};
  if (features && key_.feature_dim > 0)
    out.features = by_unit(h5_read(open_, "features", at_row, count, path),
                           key_.shared_features ? std::vector<int64_t>{0} : units);
  return out;
}

MemberOutputs LogitsCache::rounded(MemberOutputs outputs) const {
  if (key_.dtype != "f16") return outputs;

  // Values beyond f16 would become infinite without notice.
  const auto round = [&](const at::Tensor& values) {
    auto nearest = values.to(at::kHalf).to(at::kFloat);
    const auto lost =
        nearest.isfinite().logical_not().logical_and(values.isfinite()).sum().item<int64_t>();
    DISSENT_CHECK(lost == 0, kData,
                  "{}: expected outputs in the range of f16, found {} beyond it: use "
                  "evaluate.logits_cache = \"f32\"",
                  key_.place, lost);
    return nearest;
  };

  // Rounded before they are used, so that this evaluation and one that reads the cache agree.
  outputs.logits = round(outputs.logits);
  if (key_.feature_dim > 0 && outputs.features.defined())
    outputs.features = round(outputs.features);
  return outputs;
}

void LogitsCache::begin(int64_t shard) {
  // The size includes 8 bytes per row for its label, and some KiB for the datasets.
  const auto path = temporary_name(shard_path(shard));
  const auto dtype = dtype_from_name(key_.dtype, path);
  const int64_t rows = shard_count(shard),
                bytes = rows * (key_.row_values() * (dtype == at::kHalf ? 2 : 4) + 8);

  // The shard gets its final name in commit(): what a killed process leaves is never read.
  file_ = h5_create(path, bytes + 16384);

  // The identity is in every shard, so that a shard of another evaluation is never read.
  h5_write_attribute(file_, "/", "format", std::string("dissent-logits"), path);
  h5_write_attribute(file_, "/", "version", int64_t{2}, path);
  h5_write_attribute(file_, "/", "identity", identity(key_.units), path);
  h5_write_attribute(file_, "/", "set", key_.place, path);
  h5_write_attribute(file_, "/", "first_row", shard * key_.shard_rows, path);

  h5_add_dataset(file_, "logits", {rows, key_.units, key_.classes}, dtype, path);
  if (key_.feature_dim > 0)
    h5_add_dataset(file_, "features", {rows, key_.feature_units(key_.units), key_.feature_dim},
                   dtype, path);
  h5_add_dataset(file_, "label", {rows}, at::kLong, path);

  writing_ = shard;
  written_ = 0;
}

void LogitsCache::write(const MemberOutputs& outputs, const at::Tensor& labels) {
  // A shard is written by one rank, so its writes must not be collective over all ranks.
  const auto self = make_self_communicator();
  const auto path = temporary_name(shard_path(writing_));
  const auto dtype = dtype_from_name(key_.dtype, path);
  h5_write_rows(file_, "logits", written_, by_row(outputs.logits, dtype), *self, path);
  if (key_.feature_dim > 0)
    h5_write_rows(file_, "features", written_, by_row(outputs.features, dtype), *self, path);
  h5_write_rows(file_, "label", written_, labels.contiguous(), *self, path);
  written_ += labels.size(0);
}

void LogitsCache::commit() {
  const auto path = shard_path(writing_);
  DISSENT_CHECK(written_ == shard_count(writing_), kInternal,
                "{}: expected {} written rows, found {}", path, shard_count(writing_), written_);

  // Checksums first, then the final name: a shard with this name is complete.
  h5_close_sealed(file_, temporary_name(path));
  sync_and_rename(temporary_name(path), path);
  present_[writing_] = true;
}

}  // namespace dissent
