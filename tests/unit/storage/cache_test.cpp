// What the reader says of caches that are not as they should be; writing by several ranks is in
// tests/mpi/storage.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "self.hpp"
#include "storage/h5.hpp"
#include "storage_helpers.hpp"

using namespace dissent;
using namespace dissent::testing;

namespace {

using dissent::testing::self;

struct CacheTest : ::testing::Test {
  TempFolder folder{*self};
  std::string path = folder / "set.cache";
  CacheSpec spec = small_spec();
  std::string shard(int i) const { return fmt::format("{}/shard-{:05}.h5", path, i); }
  std::string open_error() const {
    return error_of(ErrorKind::kData, [&] { FeatureCache::open(path); });
  }
  void replace_in_manifest(const std::string& from, const std::string& to) const {
    auto text = read_text(path + "/manifest.toml");
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    atomic_write_text(path + "/manifest.toml", text.replace(at, from.size(), to));
  }
};

}  // namespace

TEST_F(CacheTest, HoldsWhatWasWritten) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    spec = small_spec(dtype);
    EXPECT_EQ(write_cache(*self, path, spec, 1 << 20, true), CacheWriter::State::kNew);
    const auto cache = FeatureCache::open(path);
    EXPECT_EQ(spec_difference(cache.spec(), spec), "");
    EXPECT_EQ(cache.spec().configuration, spec.configuration);
    EXPECT_EQ(cache.shards().size(), 9u);
    EXPECT_TRUE(cache.concurrent_reads());
    EXPECT_TRUE(at::equal(cache.read_rows(0, cache.rows()), expected_features(spec)));
    // Over the borders of shards and passes.
    EXPECT_TRUE(
        at::equal(cache.read_rows(420, 1234), expected_features(spec).narrow(0, 420, 1234)));
    EXPECT_EQ(cache.read_rows(3000, 0).size(0), 0);
    const auto row = at::arange(2900, 3000, at::kLong).remainder(1000);
    EXPECT_TRUE(at::equal(cache.read_index(2900, 100), row));
    EXPECT_TRUE(at::equal(cache.read_labels(2900, 100), row.remainder(10)));
    cache.verify();
    cache.check_labels(10, false);
  }
}

TEST_F(CacheTest, VerifyFindsAChangedByte) {
  write_cache(*self, path, spec);
  auto file = h5_open(shard(4));
  const auto offset = h5_info(file, "embed", shard(4)).offset;
  file.close(shard(4));
  change_byte(shard(4), offset + 4 * 5 * 428 + 4);  // the last row
  const auto cache = FeatureCache::open(path);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { cache.verify(); }),
                  "shard-00004.h5: embed: damaged: bytes ");
}

TEST_F(CacheTest, StoppedCacheIsIncomplete) {
  write_cache(*self, path, spec, 4);
  EXPECT_CONTAINS(open_error(), "set.cache: incomplete: expected 9 shards, found 4");
}

TEST_F(CacheTest, TruncatedShard) {
  write_cache(*self, path, spec);
  std::filesystem::resize_file(shard(2), 1000);
  EXPECT_CONTAINS(
      open_error(),
      fmt::format(
          "shard-00002.h5: truncated: expected at least {} bytes for its 142 rows, found 1000",
          142 * 32));
  std::filesystem::remove(shard(2));
  EXPECT_CONTAINS(open_error(),
                  "shard-00002.h5: expected this shard of the manifest, found none: No such file");
}

TEST_F(CacheTest, ForceWritesADamagedCacheAnew) {
  write_cache(*self, path, spec);
  const auto whole = read_text(shard(2)), manifest = read_text(path + "/manifest.toml");
  const auto damages = std::vector<std::function<void()>>{
      [&] { std::filesystem::resize_file(shard(2), 1000); },
      [&] { std::filesystem::remove(shard(2)); },
      [&] { atomic_write_text(shard(2), "no HDF5 at all" + std::string(20000, ' ')); },
      [&] { atomic_write_text(path + "/manifest.toml", manifest.substr(0, manifest.size() / 2)); },
      [&] {
        std::filesystem::rename(path + "/manifest.toml", path + "/manifest.toml.partial"),
            std::filesystem::resize_file(shard(2), 1000);
      }};
  for (const auto& damage : damages) {
    damage();
    EXPECT_CONTAINS(
        error_of(ErrorKind::kData, [&] { CacheWriter::open(*self, path, spec, false); }),
        "; --force replaces the cache");
    EXPECT_EQ(write_cache(*self, path, spec, 1 << 20, true), CacheWriter::State::kNew);
    EXPECT_EQ(read_text(shard(2)), whole);
    EXPECT_EQ(read_text(path + "/manifest.toml"), manifest);
    EXPECT_FALSE(std::filesystem::exists(path + "/manifest.toml.partial"));
  }
  // Damage that opening does not see, and none at all.
  const auto offset = h5_info(h5_open(shard(2)), "embed", shard(2)).offset;
  change_byte(shard(2), offset + 3);
  EXPECT_EQ(write_cache(*self, path, spec), CacheWriter::State::kFinished);
  EXPECT_EQ(write_cache(*self, path, spec, 1 << 20, true), CacheWriter::State::kNew);
  EXPECT_EQ(read_text(shard(2)), whole);
}

TEST_F(CacheTest, ShardOfAnotherShapeOrType) {
  write_cache(*self, path, spec);
  auto other = spec;
  other.dim = 6;
  write_cache(*self, folder / "six.cache", other);
  std::filesystem::copy_file(folder / "six.cache/shard-00001.h5", shard(1),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_CONTAINS(open_error(), "shard-00001.h5: embed: expected D = 5, found 6");
  other = spec;
  other.dtype = at::kDouble;
  EXPECT_CONTAINS(
      error_of(ErrorKind::kInternal, [&] { write_cache(*self, folder / "double.cache", other); }),
      "f32, f16 or bf16");
  write_cache(*self, folder / "half.cache", small_spec(at::kHalf));
  replace_in_manifest("dim = 5", "dim = 2");  // so that the file is long enough
  std::filesystem::copy_file(folder / "half.cache/shard-00000.h5", shard(0),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_CONTAINS(open_error(), "shard-00000.h5: embed: expected D = 2, found 5");
}

TEST_F(CacheTest, WrongRowCount) {
  write_cache(*self, path, spec);
  std::filesystem::copy_file(shard(0), shard(2), std::filesystem::copy_options::overwrite_existing);
  EXPECT_CONTAINS(open_error(), "shard-00002.h5: expected 142 rows, found 429");
  replace_in_manifest("rows = 3000", "rows = 3003");
  EXPECT_CONTAINS(open_error(),
                  "manifest.toml: expected shards with 3003 rows in total, found 3000");
}

TEST_F(CacheTest, BadManifests) {
  std::string key = "a";
  for (int i = 1; i < 50000; ++i) key += ".a";
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { parse_manifest("\n" + key + " = 1\n", "m.toml"); }),
      "m.toml:2: expected keys of at most 16 parts, found one of 50000");
  write_cache(*self, path, spec);
  replace_in_manifest("version = 1", "version = 2");
  EXPECT_CONTAINS(open_error(),
                  "manifest.toml: expected format \"dissent-cache\" version 1, found "
                  "\"dissent-cache\" version 2");
  replace_in_manifest("version = 2\n", "");
  EXPECT_CONTAINS(open_error(), "manifest.toml: key 'version': expected an integer, found none");
  replace_in_manifest("dim = 5", "version = 1\ndim = \"five\"");
  EXPECT_CONTAINS(open_error(), "key 'dim': expected an integer, found another value");
  replace_in_manifest("dim = \"five\"", "dim = 281474976710656");
  EXPECT_CONTAINS(open_error(), "dim: expected 1 .. 281474976710655, found 281474976710656");
  atomic_write_text(path + "/manifest.toml", "format = \n");
  EXPECT_CONTAINS(open_error(), "manifest.toml:1: ");
  std::filesystem::remove(path + "/manifest.toml");
  EXPECT_CONTAINS(open_error(), "not a feature cache: expected manifest.toml, found none");
}

TEST_F(CacheTest, LabelsOutOfRange) {
  spec.classes = 11;
  write_cache(*self, path, spec);
  const auto cache = FeatureCache::open(path);
  cache.check_labels(11, false);
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { cache.check_labels(9, false); }),
                  "label of row 9: expected 0 .. 8, found 9");
}

TEST_F(CacheTest, UnknownLabelsOnlyWhereNoneAreNeeded) {
  const auto labels = at::tensor({3, -1, 2}, at::kLong);
  check_label_range(labels, 100, 4, true, "set");
  EXPECT_CONTAINS(
      error_of(ErrorKind::kData, [&] { check_label_range(labels, 100, 4, false, "set"); }),
      "set: label of row 101: expected 0 .. 3 (");
}

TEST_F(CacheTest, WriterRefusesValuesThatAreNotFinite) {
  spec = small_spec(at::kHalf);
  auto writer = CacheWriter::open(*self, path, spec, false);
  auto features = features_of(spec, 0, 0, 429);
  features[300][2] = 1e6;  // finite as f32, infinite as f16
  const auto message = error_of(ErrorKind::kData, [&] {
    writer.write_shard(features, labels_of(spec, 0, 429), index_of(0, 429));
  });
  EXPECT_CONTAINS(message, "set.cache: row 300, column 2: expected a finite feature, found inf");
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage,
                           [&] {
                             writer.write_shard(features.narrow(0, 0, 428), labels_of(spec, 0, 429),
                                                index_of(0, 429));
                           }),
                  "expected [429, 5]");
}

TEST_F(CacheTest, FolderThatIsNoCacheIsLeftAlone) {
  std::filesystem::create_directory(path);
  atomic_write_text(path + "/thesis.txt", "years of work");
  for (const bool force : {false, true})
    EXPECT_CONTAINS(
        error_of(ErrorKind::kUsage, [&] { CacheWriter::open(*self, path, spec, force); }),
        "expected a feature cache or an empty folder");
  EXPECT_EQ(read_text(path + "/thesis.txt"), "years of work");
}

// A plan that would fill the memory with names, also where a manifest asks for it.
TEST_F(CacheTest, TooManyShardsAreRefused) {
  spec.rows_per_pass = int64_t{1} << 40;
  spec.shard_rows = 1;
  const std::string expected = "cache.shard_rows: expected at most 1000000 shards, found ";
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { CacheWriter::open(*self, path, spec, false); }),
                  expected);
  std::filesystem::create_directory(path);
  atomic_write_text(path + "/" + kPartialManifestName, manifest_text({spec, "test", {}}));
  EXPECT_CONTAINS(error_of(ErrorKind::kUsage, [&] { FeatureCache::open(path); }), expected);
}

TEST_F(CacheTest, NeedsTheSpaceBeforeItStarts) {
  spec.rows_per_pass = int64_t{1} << 44;
  spec.shard_rows = int64_t{1} << 40;
  EXPECT_CONTAINS(error_of(ErrorKind::kData, [&] { CacheWriter::open(*self, path, spec, false); }),
                  "free");
  EXPECT_FALSE(std::filesystem::exists(path + "/manifest.toml"));
}
