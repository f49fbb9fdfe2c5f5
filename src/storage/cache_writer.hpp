#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "storage/cache_manifest.hpp"

namespace dissent {

/// This rank's rows of the next shard. A rank may have none (count 0) and still takes part in
/// write_shard.
struct ShardPart {
  int64_t shard = 0;  ///< number of the shard
  int64_t pass = 0;   ///< which augmented copy
  int64_t first_source_row =
      0;  ///< position in the source order of the pass, 0 .. rows_per_pass - 1
  int64_t count = 0;
};

/// Writes a cache folder, collectively by all ranks of a group:
///   auto writer = CacheWriter::open(comm, "data/in_train.cache", spec, false);
///   while (auto part = writer.next_shard()) writer.write_shard(features_of(*part),
///       labels_of(*part), index_of(*part));
///   writer.finish();
/// After each shard the folder is a valid incomplete cache; a writer opened on it again continues
/// with the first missing shard. Files have the same bytes for any number of ranks. Every function
/// except next_shard and the getters is collective and throws the same error on every rank:
/// Error::kData for a full disk or a folder that cannot be written, Error::kUsage for a
/// specification or tensors that do not fit.
class CacheWriter {
 public:
  enum class State { kNew, kResumed, kFinished };

  /// Inspects `path`, which ends in ".cache": missing (kNew), an incomplete cache with the same
  /// specification (kResumed; it keeps its own shard_rows), a finished one (kFinished: reused,
  /// next_shard returns nothing). A cache with another specification: Error::kUsage with what
  /// differs; a damaged one (manifest, existence, size and shape of shards): Error::kData. `force`
  /// deletes an existing cache and starts a new one. Checks that the file system has space for the
  /// rows still to be written.
  static CacheWriter open(Communicator& comm, const std::string& path, const CacheSpec& spec,
                          bool force);

  /// What open() found; kFinished after finish().
  State state() const { return state_; }
  /// Shards that are complete and listed in the manifest, and the number of all shards.
  int64_t finished_shards() const { return static_cast<int64_t>(manifest_.shards.size()); }
  int64_t shard_count() const { return static_cast<int64_t>(plan_.size()); }
  /// This rank's rows of the next shard: whole hash blocks, except at the shard's end; nothing when
  /// all shards are written. Not collective.
  std::optional<ShardPart> next_shard() const;
  /// embed [count, D] f32 or the file's dtype (rounded to nearest; a value that is or becomes Inf
  /// or NaN is an error naming row and column), label [count] and index [count] of any integer
  /// dtype; any device.
  void write_shard(const at::Tensor& embed, const at::Tensor& label, const at::Tensor& index);
  /// Gives the manifest its final name. Error::kInternal if shards are missing.
  void finish();

 private:
  CacheWriter(Communicator& comm, std::string path) : comm_(&comm), path_(std::move(path)) {}
  void write_file(const ShardEntry& entry, int64_t first, const at::Tensor& embed,
                  const at::Tensor& label, const at::Tensor& index);
  Communicator* comm_;
  std::string path_;
  CacheManifest manifest_;        // finished shards
  std::vector<ShardEntry> plan_;  // all shards
  State state_ = State::kNew;
};

}  // namespace dissent
