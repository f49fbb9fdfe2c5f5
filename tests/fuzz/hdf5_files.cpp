// Files that go through HDF5: feature caches (SED's and our own), checkpoints, saliency maps; and
// the manifest of a cache. Seeds are written by this version, so they are never of an older one.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>

#include "fuzz.hpp"
#include "storage/atomic_file.hpp"
#include "storage/cache_writer.hpp"
#include "storage/checkpoint.hpp"
#include "storage/feature_cache.hpp"
#include "storage/h5.hpp"
#include "storage/saliency_file.hpp"
#include "touch.hpp"

using namespace dissent;

namespace {

void read_all(const FeatureCache& cache) {
  constexpr int64_t kRows = 4096;
  for (int64_t row = 0; row < cache.rows(); row += kRows) {
    const auto count = std::min(kRows, cache.rows() - row);
    fuzz::touch(cache.read_rows(row, count));
    cache.read_labels(row, count);
    cache.read_index(row, count);
  }
}

CacheSpec small_cache() {
  CacheSpec spec;
  spec.dim = 3;
  spec.passes = 2;
  spec.rows_per_pass = 6;
  spec.classes = 4;
  spec.shard_rows = 6;
  spec.source = "made_up/train";
  spec.trunk = "none";
  spec.transform = "none";
  spec.configuration = "[cache]\npasses = 2\n";
  spec.configuration_hash = "0123";
  return spec;
}

// A whole cache; made once.
const std::string& cache_folder() {
  static const std::string path = [] {
    const auto own = fuzz::folder() + "/made.cache";
    auto self = make_self_communicator();
    auto writer = CacheWriter::open(*self, own, small_cache(), true);
    while (const auto part = writer.next_shard())
      writer.write_shard(at::arange(3 * part->count, at::kFloat).reshape({part->count, 3}),
                         at::arange(part->count, at::kLong).remainder(4),
                         at::arange(part->count, at::kLong));
    writer.finish();
    return own;
  }();
  return path;
}

std::string first_shard() { return FeatureCache::open(cache_folder()).shards()[0].file; }

std::string sed_file(at::ScalarType embed, at::ScalarType label) {
  const auto path = fuzz::folder() + "/seed.h5";
  auto self = make_self_communicator();
  auto file = h5_create(path);
  const auto column = at::arange(8, at::kLong).remainder(4).reshape({8, 1}).to(label);
  const std::pair<const char*, at::Tensor> columns[] = {
      {"embed", at::arange(24).reshape({8, 3}).to(embed)}, {"label", column}, {"index", column}};
  for (const auto& [name, values] : columns) {
    h5_add_dataset(file, name, values.sizes(), values.scalar_type(), path);
    h5_write_rows(file, name, 0, values, *self, path);
  }
  file.close(path);
  return read_text(path);
}

}  // namespace

DISSENT_FUZZ(sed_file, kHdf5, "\x89HDF\r\n\x1a\n", "embed", "label", "index", "TREE", "HEAP",
             "SNOD", "GCOL", "OHDR") {
  read_all(FeatureCache::open(fuzz::file_of(input, "features.h5")));
}
DISSENT_FUZZ_SEEDS(sed_file) {
  return {sed_file(at::kFloat, at::kFloat), sed_file(at::kHalf, at::kLong)};
}

DISSENT_FUZZ(cache_shard, kHdf5, "\x89HDF\r\n\x1a\n", "embed", "label", "index", "TREE", "HEAP",
             "SNOD") {
  static const auto shard = first_shard();
  fuzz::file_of(input, "made.cache/" + shard);
  const auto cache = FeatureCache::open(cache_folder());
  read_all(cache);
  cache.verify();
}
DISSENT_FUZZ_SEEDS(cache_shard) { return {read_text(cache_folder() + "/" + first_shard())}; }

DISSENT_FUZZ(cache_manifest, kOwn, "format = \"dissent-cache\"", "version = 1",
             "dim = ", "dtype = \"bf16\"",
             "passes = ", "rows_per_pass = ", "shard_rows = ", "[[shards]]",
             "file = ", "first_row = ", "rows = ", "checksum = \"xxh3:", "'''") {
  // What is printed reads back as the same.
  const auto text = manifest_text(parse_manifest(input, "manifest.toml"));
  if (manifest_text(parse_manifest(text, "manifest.toml")) != text)
    throw std::logic_error("a printed manifest reads back as another: " + text);
}
DISSENT_FUZZ_SEEDS(cache_manifest) { return {read_text(cache_folder() + "/" + kManifestName)}; }

DISSENT_FUZZ(checkpoint, kHdf5, "\x89HDF\r\n\x1a\n", "members", "optimizer", "TREE", "HEAP", "SNOD",
             "GCOL", "dissent-checkpoint") {
  const CheckpointReader reader(fuzz::file_of(input, "checkpoint.h5"));
  fuzz::use(reader.config_text());
  for (const char* group : {"members", "optimizer", "buffers", "discriminators"})
    for (const auto& name : reader.names(group)) {
      const auto whole = std::string(group) + "/" + name;
      const auto shape = reader.shape(whole);
      if (!shape.empty()) fuzz::touch(reader.read_slab(whole, 0, shape[0]));
    }
}
DISSENT_FUZZ_SEEDS(checkpoint) {
  const auto path = fuzz::folder() + "/seed_checkpoint.h5";
  auto self = make_self_communicator();
  CheckpointWriter writer(*self, path, "seeds = [42]\n", "cafe",
                          {{"epoch", int64_t{3}}, {"best", 0.1}, {"by", std::string("accuracy")}});
  const auto weight = at::arange(2 * 3 * 2).reshape({2, 3, 2}).to(at::kFloat);
  writer.add("members/head.weight", {2, 3, 2}, 0, weight);
  writer.add("optimizer/exp_avg/head.weight", {2, 3, 2}, 0, weight.to(at::kBFloat16));
  writer.add("optimizer/steps", {2}, 0, at::arange(2, at::kLong));
  writer.commit();
  return {read_text(path)};
}

DISSENT_FUZZ(saliency, kHdf5, "\x89HDF\r\n\x1a\n", "image", "maps", "label", "prediction", "TREE",
             "HEAP", "SNOD", "GCOL", "dissent-saliency") {
  fuzz::touch(read_saliency(fuzz::file_of(input, "saliency.h5")).maps);
}
DISSENT_FUZZ_SEEDS(saliency) {
  const auto path = fuzz::folder() + "/seed_saliency.h5";
  write_saliency(path, {at::zeros({2, 4, 4, 3}, at::kByte), at::zeros({2, 3, 2, 2}, at::kFloat),
                        at::arange(2, at::kLong), at::arange(2, at::kLong)});
  return {read_text(path)};
}
