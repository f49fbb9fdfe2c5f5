#include "storage/cache_manifest.hpp"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>
#include <algorithm>
#include <build_info.hpp>
#include <dissent/error.hpp>
#include <type_traits>

#include <limits>

#include "core/toml_keys.hpp"

namespace dissent {
namespace {

constexpr const char* kFormat = "dissent-cache";
constexpr int64_t kVersion = 1;

// A TOML basic string; a line break becomes \n.
std::string quoted(const std::string& text) {
  // TOML forbids control characters in strings.
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", c);
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

// A multi-line literal where the text allows it, so that the manifest stays readable.
std::string block(const std::string& text) {
  const bool plain = text.find("'''") == std::string::npos &&
                     text.find('\r') == std::string::npos && !text.empty() && text.back() == '\n';
  return plain ? fmt::format("'''\n{}'''", text) : quoted(text);
}

const char* found_at(const toml::table& table, const char* key) {
  return table.contains(key) ? "another value" : "none";
}

template <class T>
T value_of(const toml::table& table, const char* key, const std::string& path) {
  const auto value = table[key].value_exact<T>();
  DISSENT_CHECK(value, kData, "{}: key '{}': expected {}, found {}", path, key,
                std::is_same_v<T, std::string> ? "a string" : "an integer", found_at(table, key));
  return *value;
}

int64_t count_of(const toml::table& table, const char* key, int64_t least,
                 const std::string& path) {
  const auto value = value_of<int64_t>(table, key, path);
  constexpr int64_t kMost = (int64_t{1} << 48) - 1;
  DISSENT_CHECK(value >= least && value <= kMost, kData, "{}: {}: expected {} .. {}, found {}",
                path, key, least, kMost, value);
  return value;
}

ShardEntry parse_shard(const toml::table& table, int64_t first_row, const std::string& path) {
  ShardEntry shard{value_of<std::string>(table, "file", path),
                   count_of(table, "first_row", 0, path), count_of(table, "rows", 1, path),
                   value_of<std::string>(table, "checksum", path)};
  DISSENT_CHECK(shard.first_row == first_row, kData,
                "{0}: {1}: expected to start at row {3}, found {2}", path, shard.file,
                shard.first_row, first_row);
  DISSENT_CHECK(!shard.file.empty() && shard.file.find('/') == std::string::npos, kData,
                "{}: shard: expected a file name in the folder, found '{}'", path, shard.file);
  return shard;
}

}  // namespace

int64_t CacheSpec::row_bytes() const {
  return dim * static_cast<int64_t>(c10::elementSize(dtype)) + 4 + 8;
}

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat: return "f32";
    case at::kHalf: return "f16";
    case at::kBFloat16: return "bf16";
    default:
      DISSENT_FAIL(kInternal, "feature cache: expected f32, f16 or bf16, found {}",
                   at::toString(dtype));
  }
}

at::ScalarType dtype_from_name(const std::string& name, const std::string& place) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
    if (name == dtype_name(dtype)) return dtype;
  DISSENT_FAIL(kData, "{}: dtype: expected f32, f16 or bf16, found \"{}\"", place, name);
}

std::vector<ShardEntry> plan_shards(const CacheSpec& spec) {
  // Rounded up without the sum rows_per_pass + shard_rows, which overflows for a huge shard_rows.
  const int64_t per_pass = (spec.rows_per_pass - 1) / spec.shard_rows + 1;
  DISSENT_CHECK(per_pass <= kMostShards / spec.passes, kUsage,
                "cache.shard_rows: expected at most {} shards, found {} with {} rows in each of {} "
                "passes",
                kMostShards, per_pass, spec.shard_rows, spec.passes);

  // A shard never crosses the end of a pass, so the last one of each pass may be shorter.
  std::vector<ShardEntry> shards;
  for (int64_t pass = 0; pass < spec.passes; ++pass) {
    for (int64_t row = 0; row < spec.rows_per_pass; row += spec.shard_rows) {
      shards.push_back({fmt::format("shard-{:05}.h5", shards.size()),
                        pass * spec.rows_per_pass + row,
                        std::min(spec.shard_rows, spec.rows_per_pass - row), ""});
    }
  }
  return shards;
}

std::string manifest_text(const CacheManifest& manifest) {
  const auto& spec = manifest.spec;

  // Identity of the format, then shape, origin and configuration of the features.
  std::string text = fmt::format("format = \"{}\"\nversion = {}\ncreator = {}\n", kFormat, kVersion,
                                 quoted(manifest.creator));
  text += fmt::format(
      "rows = {}\ndim = {}\ndtype = \"{}\"\npasses = {}\nclasses = {}\nshard_rows = {}\n",
      spec.rows(), spec.dim, dtype_name(spec.dtype), spec.passes, spec.classes, spec.shard_rows);
  text += fmt::format("source = {}\ntrunk = {{ name = {}, weights = {} }}\ntransform = {}\n",
                      quoted(spec.source), quoted(spec.trunk), quoted(spec.weights),
                      quoted(spec.transform));
  text += fmt::format("configuration_hash = {}\nconfiguration = {}\n",
                      quoted(spec.configuration_hash), block(spec.configuration));

  // One table per finished shard.
  for (const auto& shard : manifest.shards) {
    text += fmt::format("\n[[shard]]\nfile = {}\nfirst_row = {}\nrows = {}\nchecksum = {}\n",
                        quoted(shard.file), shard.first_row, shard.rows, quoted(shard.checksum));
  }
  return text;
}

CacheManifest parse_manifest(const std::string& text, const std::string& path) {
  // A key of very many parts would exhaust the stack of the recursive TOML parser.
  if (const auto key = long_key(text))
    DISSENT_FAIL(kData, "{}:{}: expected keys of at most {} parts, found one of {}", path,
                 key->line, kMostKeyParts, key->parts);

  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    DISSENT_FAIL(kData, "{}:{}: {}", path, error.source().begin.line, error.description());
  }

  // The format decides how the other keys are read, so it is checked first.
  const auto format = value_of<std::string>(table, "format", path);
  const auto version = value_of<int64_t>(table, "version", path);
  DISSENT_CHECK(format == kFormat && version == kVersion, kData,
                "{0}: expected format \"{3}\" version {4}, found \"{1}\" version {2}", path, format,
                version, kFormat, kVersion);

  // What the features are: shape, dtype, passes.
  CacheManifest manifest;
  manifest.creator = value_of<std::string>(table, "creator", path);
  auto& spec = manifest.spec;
  spec.dim = count_of(table, "dim", 1, path);
  spec.dtype = dtype_from_name(value_of<std::string>(table, "dtype", path), path);
  spec.passes = count_of(table, "passes", 1, path);

  // The manifest stores the total number of rows; every pass has an equal part of it.
  const int64_t rows = count_of(table, "rows", 1, path);
  DISSENT_CHECK(rows % spec.passes == 0, kData,
                "{0}: expected a multiple of {2} rows ({2} passes), found {1}", path, rows,
                spec.passes);
  spec.rows_per_pass = rows / spec.passes;
  spec.classes = count_of(table, "classes", 0, path);
  spec.shard_rows = count_of(table, "shard_rows", 1, path);

  // How the features were made.
  spec.source = value_of<std::string>(table, "source", path);
  const auto* trunk = table["trunk"].as_table();
  DISSENT_CHECK(trunk, kData, "{}: key 'trunk': expected a table of name and weights, found {}",
                path, found_at(table, "trunk"));
  spec.trunk = value_of<std::string>(*trunk, "name", path);
  spec.weights = value_of<std::string>(*trunk, "weights", path);
  spec.transform = value_of<std::string>(table, "transform", path);
  spec.configuration_hash = value_of<std::string>(table, "configuration_hash", path);
  spec.configuration = value_of<std::string>(table, "configuration", path);

  // Shards follow one another without gaps. A partial manifest lists fewer rows than the cache has.
  int64_t first_row = 0;
  if (const auto* shards = table["shard"].as_array()) {
    for (const auto& entry : *shards) {
      DISSENT_CHECK(entry.is_table(), kData,
                    "{}: key 'shard': expected a list of tables, found another value in it", path);
      manifest.shards.push_back(parse_shard(*entry.as_table(), first_row, path));
      first_row += manifest.shards.back().rows;
    }
  }
  DISSENT_CHECK(first_row <= rows, kData, "{0}: expected shards with {2} rows in total, found {1}",
                path, first_row, rows);
  return manifest;
}

std::string spec_difference(const CacheSpec& there, const CacheSpec& here) {
  std::vector<std::string> differences;
  const auto compare = [&](const char* name, const auto& a, const auto& b) {
    if (a != b) differences.push_back(fmt::format("{} is {} there, {} here", name, a, b));
  };
  const auto compare_text = [&](const char* name, const std::string& a, const std::string& b) {
    compare(name, quoted(a), quoted(b));
  };

  // Shape first, then origin: the order in which a user looks for the cause. shard_rows, the text
  // of the configuration and its creator do not change the features, so they are not compared.
  compare("dim", there.dim, here.dim);
  compare("dtype", dtype_name(there.dtype), dtype_name(here.dtype));
  compare("passes", there.passes, here.passes);
  compare("rows_per_pass", there.rows_per_pass, here.rows_per_pass);
  compare("classes", there.classes, here.classes);
  compare_text("source", there.source, here.source);
  compare_text("trunk", there.trunk, here.trunk);
  compare_text("weights", there.weights, here.weights);
  compare_text("transform", there.transform, here.transform);
  compare_text("configuration_hash", there.configuration_hash, here.configuration_hash);
  return fmt::format("{}", fmt::join(differences, "; "));
}

}  // namespace dissent
