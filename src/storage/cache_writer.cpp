#include "storage/cache_writer.hpp"

#include <algorithm>
#include <build_info.hpp>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#include <filesystem>

#include <fmt/ranges.h>

#include "core/divide_up.hpp"
#include "storage/atomic_file.hpp"
#include "storage/cache_checksum.hpp"
#include "storage/cache_file.hpp"
#include "storage/feature_cache.hpp"

namespace dissent {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFileOverhead = 16384;  // upper bound of a shard's bytes without its values

void check_spec(const CacheSpec& spec, const std::string& path) {
  DISSENT_CHECK(path.ends_with(".cache"), kUsage,
                "{}: expected a feature cache whose name ends in .cache, found another name", path);
  DISSENT_CHECK(spec.dim >= 1 && spec.passes >= 1 && spec.rows_per_pass >= 1 && spec.classes >= 0 &&
                    spec.shard_rows >= 1,
                kUsage,
                "{}: expected positive sizes, found {} passes of {} rows, {} features, {} classes, "
                "{} rows per shard",
                path, spec.passes, spec.rows_per_pass, spec.dim, spec.classes, spec.shard_rows);
  dtype_name(spec.dtype);
}

// Names of all entries of a folder.
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator at(path, code), end; !code && at != end; at.increment(code))
    names.push_back(at->path().filename().string());
  DISSENT_CHECK(!code, kData, "{}: cannot read the folder: {}", path, code.message());
  return names;
}

bool is_shard(const std::string& name) {
  return name.starts_with("shard-") && name.find(".h5") != std::string::npos;
}

// Deletes the files of a cache and nothing else; the manifests last, so that after a crash the
// folder is still recognised as a cache.
void clear_folder(const std::string& path) {
  for (const auto& name : names_in(path))
    if (is_shard(name)) remove_file(path + "/" + name);
  for (const char* name : {kManifestName, kPartialManifestName}) remove_file(path + "/" + name);
}

// Rows [first, first + count) of a shard for a rank: whole hash blocks, split as evenly as
// possible.
std::pair<int64_t, int64_t> part_of(int64_t shard_rows, int rank, int ranks) {
  const int64_t blocks = divide_up(shard_rows, kHashBlockRows);
  const int64_t first = std::min(shard_rows, blocks * rank / ranks * kHashBlockRows);
  const int64_t end = std::min(shard_rows, blocks * (rank + 1) / ranks * kHashBlockRows);
  return {first, end - first};
}

struct Found {
  CacheWriter::State state = CacheWriter::State::kNew;
  CacheManifest manifest;
};

// Raises unless every shard listed in the manifest exists and fits.
void check_shards(const std::string& path, const std::string& name, const CacheManifest& manifest,
                  bool finished) {
  // Opening a finished cache checks all of its shards. An incomplete one cannot be opened, so the
  // shards that it has are compared with the split that the writer will continue.
  if (finished) {
    FeatureCache::open(path);
    return;
  }

  const auto plan = plan_shards(manifest.spec);
  for (size_t shard = 0; shard < manifest.shards.size(); ++shard) {
    const auto& entry = manifest.shards[shard];
    DISSENT_CHECK(
        shard < plan.size() && entry.file == plan[shard].file && entry.rows == plan[shard].rows,
        kData,
        "{}: shard {}: expected the file and rows that follow from shard_rows, found {} with {} "
        "rows",
        name, shard, entry.file, entry.rows);
    open_shard(path, entry, manifest.spec);
  }
}

// State of the cache at the path; called on one rank. `force` empties an existing cache folder.
Found look(const std::string& path, const CacheSpec& spec, bool force) {
  Found found{CacheWriter::State::kNew, {spec, DISSENT_VERSION, {}}};

  // An absent path is a new cache.
  std::error_code ignored;
  if (!path_exists(path)) return found;
  DISSENT_CHECK(fs::is_directory(path, ignored), kUsage, "{}: expected a folder, found a file",
                path);

  // A folder without either manifest is accepted only while it is empty: `force` must never delete
  // files that are not ours.
  const bool finished = path_exists(path + "/" + kManifestName);
  const std::string name = path + "/" + (finished ? kManifestName : kPartialManifestName);
  if (!path_exists(name)) {
    DISSENT_CHECK(
        names_in(path).empty(), kUsage,
        "{}: expected a feature cache or an empty folder, found a folder with other files; "
        "choose another name",
        path);
    return found;
  }

  // With `force` the state of an existing cache does not matter, not even damage.
  if (force) {
    clear_folder(path);
    return found;
  }

  // An existing cache is used again only if it has the same specification and its shards are
  // intact.
  try {
    auto manifest = parse_manifest(read_text(name), name);
    const auto difference = spec_difference(manifest.spec, spec);
    DISSENT_CHECK(difference.empty(), kUsage,
                  "{}: expected a cache of this configuration, found another one: {}; choose "
                  "another name, or "
                  "replace it with --force",
                  path, difference);
    check_shards(path, name, manifest, finished);
    found.manifest = std::move(manifest);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) throw;
    DISSENT_FAIL(kData, "{}; --force replaces the cache", error.what());
  }

  found.state = finished ? CacheWriter::State::kFinished : CacheWriter::State::kResumed;
  return found;
}

void create_shard(const std::string& path, const ShardEntry& entry, const CacheSpec& spec) {
  auto file = h5_create(path, entry.rows * spec.row_bytes() + kFileOverhead);
  h5_write_format(file, {kShardFormat, kShardVersion}, path);
  h5_add_dataset(file, kEmbedDataset, {entry.rows, spec.dim}, spec.dtype, path);
  h5_add_dataset(file, kLabelDataset, {entry.rows}, at::kInt, path);
  h5_add_dataset(file, kIndexDataset, {entry.rows}, at::kLong, path);

  // A closed file has its full size, which reserve_space() takes.
  file.close(path);
  reserve_space(path);
}

}  // namespace

CacheWriter CacheWriter::open(Communicator& comm, const std::string& path, const CacheSpec& spec,
                              bool force) {
  CacheWriter writer(comm, path);
  Found found;

  // One rank inspects the folder and reserves it, so that all ranks act on the same state.
  agree(comm, [&] {
    check_spec(spec, path);
    if (comm.rank() != 0) return;
    found = look(path, spec, force);
    if (found.state == State::kFinished) return;
    make_folder(path);

    // Only the rows that are still to be written need space.
    const int64_t written = found.manifest.shards.empty() ? 0
                                                          : found.manifest.shards.back().first_row +
                                                                found.manifest.shards.back().rows;
    const auto shards = static_cast<int64_t>(plan_shards(found.manifest.spec).size() -
                                             found.manifest.shards.size());
    check_free_space(path, (spec.rows() - written) * spec.row_bytes() + shards * kFileOverhead,
                     "feature cache " + path);
    atomic_write_text(path + "/" + kPartialManifestName, manifest_text(found.manifest));
  });

  // The other ranks take state and manifest from rank 0. A resumed cache keeps its own shard_rows,
  // so each rank compares its specification with the manifest.
  const auto states = all_gather_integer(comm, static_cast<int64_t>(found.state));
  const auto text = broadcast_text(comm, comm.rank() == 0 ? manifest_text(found.manifest) : "", 0);
  agree(comm, [&] {
    writer.manifest_ = parse_manifest(text, path);
    const auto difference = spec_difference(writer.manifest_.spec, spec);
    DISSENT_CHECK(difference.empty(), kInternal,
                  "{}: expected the same cache on every rank, found different ones: {}", path,
                  difference);
  });

  writer.state_ = static_cast<State>(states[0]);
  writer.plan_ = plan_shards(writer.manifest_.spec);
  return writer;
}

std::optional<ShardPart> CacheWriter::next_shard() const {
  // A function of shard number, rank and number of ranks only, so ranks need not communicate.
  const int64_t shard = finished_shards();
  if (shard == shard_count() || state_ == State::kFinished) return {};

  const auto& entry = plan_[shard];
  const auto [first, count] = part_of(entry.rows, comm_->rank(), comm_->size());

  const int64_t per_pass = manifest_.spec.rows_per_pass;
  return ShardPart{shard, entry.first_row / per_pass, entry.first_row % per_pass + first, count};
}

void CacheWriter::write_shard(const at::Tensor& embed, const at::Tensor& label,
                              const at::Tensor& index) {
  DISSENT_CHECK(finished_shards() < shard_count(), kInternal,
                "{}: expected a shard that is not written yet, found all written", path_);

  ShardEntry entry = plan_[finished_shards()];
  const auto& spec = manifest_.spec;
  const auto [first, count] = part_of(entry.rows, comm_->rank(), comm_->size());

  // Convert to the dtypes of the file and validate before anything is written: one rank's bad value
  // is an error on every rank.
  at::Tensor features, labels, positions;
  std::vector<int64_t> hashes;
  agree(*comm_, [&, first = first, count = count] {
    const std::vector<int64_t> shape{count, spec.dim}, column{count};
    DISSENT_CHECK(embed.sizes() == shape && label.sizes() == column && index.sizes() == column,
                  kUsage,
                  "{}: embed, label, index: expected [{}, {}], [{}], [{}], found [{}], [{}], [{}]",
                  entry.file, count, spec.dim, count, count, fmt::join(embed.sizes(), ", "),
                  fmt::join(label.sizes(), ", "), fmt::join(index.sizes(), ", "));

    features = embed.detach().cpu().to(spec.dtype).contiguous();
    check_finite(features, entry.first_row + first, path_);
    const auto wide = label.cpu().to(at::kLong).contiguous();
    check_label_range(wide, entry.first_row + first, spec.classes, true, path_);
    labels = wide.to(at::kInt);
    positions = index.cpu().to(at::kLong).contiguous();

    hashes = block_hashes(features, labels, positions);
  });

  write_file(entry, first, features, labels, positions);

  // Each rank hashed its own blocks. Their hashes in row order give the checksum of the shard, the
  // same for any number of ranks.
  std::vector<int64_t> counts;
  for (int rank = 0; rank < comm_->size(); ++rank)
    counts.push_back(divide_up(part_of(entry.rows, rank, comm_->size()).second, kHashBlockRows));
  const auto blocks = comm_->all_gather(at::tensor(hashes, at::kLong), counts);
  entry.checksum =
      shard_checksum({blocks.const_data_ptr<int64_t>(), static_cast<size_t>(blocks.numel())});

  // The shard counts as finished once the partial manifest lists it.
  auto manifest = manifest_;
  manifest.shards.push_back(entry);
  agree(*comm_, [&] {
    if (comm_->rank() == 0)
      atomic_write_text(path_ + "/" + kPartialManifestName, manifest_text(manifest));
  });
  manifest_ = std::move(manifest);
}

void CacheWriter::write_file(const ShardEntry& entry, int64_t first, const at::Tensor& embed,
                             const at::Tensor& label, const at::Tensor& index) {
  const std::string temporary = temporary_name(path_ + "/" + entry.file);
  try {
    // One rank creates the datasets and allocates their disk space: a full disk is detected here,
    // before any collective write.
    agree(*comm_, [&] {
      if (comm_->rank() == 0) create_shard(temporary, entry, manifest_.spec);
    });

    // All ranks write their rows in collective MPI-IO. Each step is agreed on by itself: a rank
    // that failed alone would leave the others waiting in the next collective call.
    UniqueHandle file;
    agree(*comm_, [&] { file = h5_open_shared(temporary, *comm_); });
    std::vector<DataRange> ranges;

    // After a failed write the file is not closed: H5Fclose waits for all ranks inside HDF5,
    // retries the write on the failing disk and never returns (h5_start_before_mpi).
    agree(*comm_, [&] { h5_write_rows(file, kEmbedDataset, first, embed, *comm_, temporary); });
    agree(*comm_, [&] { h5_write_rows(file, kLabelDataset, first, label, *comm_, temporary); });
    agree(*comm_, [&] { h5_write_rows(file, kIndexDataset, first, index, *comm_, temporary); });

    // Read back what this rank wrote (see h5_check_rows). The places of the values are needed for
    // the seal, which is appended after HDF5 has closed the file.
    agree(*comm_, [&] { h5_flush(file, temporary); });
    agree(*comm_, [&] { h5_check_rows(file, kEmbedDataset, first, embed, temporary); });
    agree(*comm_, [&] { h5_check_rows(file, kLabelDataset, first, label, temporary); });
    agree(*comm_, [&] { h5_check_rows(file, kIndexDataset, first, index, temporary); });
    agree(*comm_, [&] { ranges = h5_data_ranges(file, temporary); });
    agree(*comm_, [&] { file.close(temporary); });

    // The final name appears only when the file is complete, checked and on the disk.
    write_seal(temporary, std::move(ranges), *comm_);
    agree(*comm_, [&] {
      if (comm_->rank() == 0) sync_and_rename(temporary, path_ + "/" + entry.file);
    });
  } catch (const Error&) {
    std::error_code ignored;
    if (comm_->rank() == 0) fs::remove(temporary, ignored);
    throw;
  }
}

void CacheWriter::finish() {
  if (state_ == State::kFinished) return;
  DISSENT_CHECK(finished_shards() == shard_count(), kInternal,
                "{}: expected all {} shards before finish, found {}", path_, shard_count(),
                finished_shards());

  // The final manifest first: after a crash between the two steps, the cache is complete.
  agree(*comm_, [&] {
    if (comm_->rank() != 0) return;
    atomic_write_text(path_ + "/" + kManifestName, manifest_text(manifest_));
    remove_file(path_ + "/" + kPartialManifestName);
  });
  state_ = State::kFinished;
}

}  // namespace dissent
