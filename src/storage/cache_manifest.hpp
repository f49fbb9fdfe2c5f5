#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent {

/// What a feature cache holds and how it was made.
struct CacheSpec {
  int64_t dim = 0;                    ///< D, features per row
  at::ScalarType dtype = at::kFloat;  ///< of the file: f32, f16 or bf16
  int64_t passes = 1;                 ///< augmented copies of the source set
  int64_t rows_per_pass = 0;          ///< N; every pass has the same rows in the same order
  int64_t classes =
      0;  ///< labels are in 0 .. classes - 1, or -1 for unknown; 0 if every label is unknown
  int64_t shard_rows = 131072;  ///< rows per shard; the last one of a pass may have fewer
  std::string source;           ///< source set, "fashion_mnist/train"
  std::string trunk;            ///< network that computed the features
  std::string weights;          ///< checksum of its weights
  std::string transform;
  std::string configuration;       ///< resolved TOML text, for the reader of the manifest
  std::string configuration_hash;  ///< over the keys that change results: caches with different
                                   ///< hashes are different
  int64_t rows() const { return passes * rows_per_pass; }
  int64_t row_bytes() const;  ///< of embed, label and index together
};

struct ShardEntry {
  std::string file;       ///< within the folder
  int64_t first_row = 0;  ///< of the cache
  int64_t rows = 0;
  std::string checksum;  ///< "xxh3:" and 16 hex digits (cache_checksum.hpp)
};

/// Contents of manifest.toml (finished cache) or manifest.toml.partial (shards written so far).
struct CacheManifest {
  CacheSpec spec;
  std::string creator;  ///< version of the program
  std::vector<ShardEntry> shards;
};

inline constexpr const char* kManifestName = "manifest.toml";
inline constexpr const char* kPartialManifestName = "manifest.toml.partial";

/// Largest number of shards: far more files than a folder should hold.
inline constexpr int64_t kMostShards = 1'000'000;

/// File name, first row and row count of every shard, without checksums. A shard never crosses from
/// one pass into the next. Error::kUsage above kMostShards.
std::vector<ShardEntry> plan_shards(const CacheSpec& spec);
/// The TOML text of a manifest; parse_manifest reads it back.
std::string manifest_text(const CacheManifest& manifest);
/// Reads such a text; path: for messages. Error::kData with path and key: not TOML, another format
/// or version, a key that is missing, has a wrong type or is out of range, shards with gaps.
CacheManifest parse_manifest(const std::string& text, const std::string& path);
/// "dim is 768 there, 384 here; trunk is ..." for keys that make two caches different (neither
/// shard_rows nor the text of the configuration); "" if they are the same.
std::string spec_difference(const CacheSpec& there, const CacheSpec& here);
/// "f32", "f16", "bf16" (Error::kInternal for other dtypes) and back (Error::kData with the place
/// for other names).
std::string dtype_name(at::ScalarType dtype);
at::ScalarType dtype_from_name(const std::string& name, const std::string& place);

}  // namespace dissent
