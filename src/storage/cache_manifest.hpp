#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dissent {

/// What a feature cache holds and how it was made.
struct CacheSpec {
  int64_t dim = 0;                    ///< D, features a row
  at::ScalarType dtype = at::kFloat;  ///< of the file: f32, f16 or bf16
  int64_t passes = 1;                 ///< augmented copies of the source set
  int64_t rows_per_pass = 0;          ///< N; every pass has the same rows in the same order
  int64_t classes =
      0;  ///< labels are in 0 .. classes - 1, or -1 for unknown; 0 if every label is unknown
  int64_t shard_rows = 131072;  ///< rows a shard; the last one of a pass may have fewer
  std::string source;           ///< source set, "fashion_mnist/train"
  std::string trunk;            ///< network that gave the features
  std::string weights;          ///< checksum of its weights
  std::string transform;
  std::string configuration;       ///< resolved TOML text, for the reader of the manifest
  std::string configuration_hash;  ///< of the keys that change results: caches of different hashes
                                   ///< are different
  int64_t rows() const { return passes * rows_per_pass; }
  int64_t row_bytes() const;  ///< of embed, label and index together
};

struct ShardEntry {
  std::string file;       ///< within the folder
  int64_t first_row = 0;  ///< of the cache
  int64_t rows = 0;
  std::string checksum;  ///< "xxh3:" and 16 hex digits; of CacheHasher
};

/// manifest.toml (finished) or manifest.toml.partial (shards so far) of a cache folder.
struct CacheManifest {
  CacheSpec spec;
  std::string creator;  ///< version of the program
  std::vector<ShardEntry> shards;
};

inline constexpr const char* kManifestName = "manifest.toml";
inline constexpr const char* kPartialManifestName = "manifest.toml.partial";

/// More shards than anybody has files in a folder.
inline constexpr int64_t kMostShards = 1'000'000;

/// Files, first rows and row counts of every shard, checksums empty. A pass is whole shards.
/// Error::kUsage beyond kMostShards.
std::vector<ShardEntry> plan_shards(const CacheSpec& spec);
std::string manifest_text(const CacheManifest& manifest);
/// Throws Error::kData naming the path and key: no TOML, another format or version, a key missing,
/// of a wrong type or out of range.
CacheManifest parse_manifest(const std::string& text, const std::string& path);
/// "dim is 768 there, 384 here; trunk is ..." for keys that make two caches different (not
/// shard_rows, not the configuration's text); "" if none.
std::string spec_difference(const CacheSpec& there, const CacheSpec& here);
/// "f32", "f16", "bf16" and back (Error::kData naming the place).
std::string dtype_name(at::ScalarType dtype);
at::ScalarType dtype_from_name(const std::string& name, const std::string& place);

}  // namespace dissent
