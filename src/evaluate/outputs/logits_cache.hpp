#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "core/divide_up.hpp"
#include "evaluate/subjects/member_networks.hpp"
#include "storage/h5.hpp"

namespace dissent {

/// What a logits cache belongs to. A cache of another identity is never read in its place.
struct LogitsCacheKey {
  std::string folder;    ///< <run folder>/logits/<hash of the set and the checkpoint's name>
  std::string ensemble;  ///< identity of the ensemble (configuration and weights)
  std::string set;       ///< identity of the set
  std::string place;     ///< of the set, for messages
  std::string dtype;     ///< "f32" or "f16"
  int64_t rows = 0;
  int64_t members = 0;
  int64_t units = 0;  ///< members, plus one for the soup if it is evaluated
  int64_t classes = 0;
  int64_t feature_dim = 0;       ///< 0: features are the set's own and are not stored
  bool shared_features = false;  ///< all units have the same features, which are stored once
  int64_t shard_rows = 0;

  /// Units in `features`, of a cache that holds `cached` units.
  int64_t feature_units(int64_t cached) const { return shared_features ? 1 : cached; }
  /// Values per row.
  int64_t row_values() const { return units * classes + feature_units(units) * feature_dim; }
};

/// Outputs of all units of one ensemble on one set: shard-00000.h5, .. with `logits` [rows, U, C],
/// `features` [rows, U, D] ([rows, 1, D] if all units share them) and `label` [rows], next to
/// manifest.toml. Each shard is written by one rank under a temporary name and renamed, so an
/// existing shard is complete; missing shards are written again. Shards carry the identity too.
class LogitsCache {
 public:
  /// Creates the folder and its manifest; deletes files of another identity. An existing cache
  /// without the soup, or a complete one with it, is used; key().units says what it holds.
  /// Error::kData: no space, unwritable. Collective.
  LogitsCache(Communicator& comm, LogitsCacheKey key);
  int64_t shards() const { return divide_up(key_.rows, key_.shard_rows); }
  bool has(int64_t shard) const { return present_[shard]; }
  bool complete() const;
  const LogitsCacheKey& key() const { return key_; }

  /// Rows [first, first + count) of the set, all of one existing shard: logits, and features
  /// if requested, of these units as f32. Not collective.
  MemberOutputs read(int64_t first, int64_t count, const std::vector<int64_t>& units,
                     bool features) const;
  /// Outputs of all units rounded to the cache's dtype and back, as they will be read. Error::kData
  /// if a value is beyond f16.
  MemberOutputs rounded(MemberOutputs outputs) const;

  /// Writes one shard: begin, write blocks in order, commit. By one rank. outputs: logits [U, n, C]
  /// and features [U, n, D] of all units, or [1, n, D], rounded(); labels [n] i64. Error::kData:
  /// disk full.
  void begin(int64_t shard);
  void write(const MemberOutputs& outputs, const at::Tensor& labels);
  void commit();

 private:
  std::string shard_path(int64_t shard) const;
  std::string identity(int64_t units) const;
  int64_t stored_units() const;
  bool fits(int64_t shard, int64_t units) const;
  int64_t shard_count(int64_t shard) const {
    return std::min(key_.shard_rows, key_.rows - shard * key_.shard_rows);
  }
  LogitsCacheKey key_;
  std::vector<bool> present_;
  UniqueHandle file_;
  int64_t writing_ = -1, written_ = 0;
  mutable UniqueHandle open_;
  mutable int64_t open_shard_ = -1;
};

}  // namespace dissent
