#include <xxhash.h>

#include "storage/row_subset.hpp"
#include "storage/staged.hpp"
#include "train/heads/head_data.hpp"

namespace dissent {
namespace {

FeatureCache open_checked(const std::string& path, const char* key) {
  auto cache = FeatureCache::open(staged_path(path));
  DISSENT_CHECK(cache.rows() > 0, kData, "{} ({}): expected rows, found none", key, path);
  return cache;
}

// Heads read the features of one network; nothing is known of a SED file's or of pixels.
void check_same_network(const FeatureCache& train, const FeatureCache& other) {
  const auto &here = train.spec(), &there = other.spec();
  DISSENT_CHECK(here.weights.empty() || there.weights.empty() ||
                    (here.weights == there.weights && here.trunk == there.trunk),
                kData,
                "{}: expected features of {} with the weights {}, as {} has, found {} with {}",
                other.path(), here.trunk, here.weights, train.path(), there.trunk, there.weights);
}

// What [data] names, open.
struct TrainCaches {
  FeatureCache train;
  std::optional<FeatureCache> validation, unlabelled;
  RowSelection selection;
};

TrainCaches open_caches(const CacheDataOptions& options) {
  TrainCaches caches{open_checked(options.train, "data.train"), {}, {}, {}};
  if (!options.validation.empty())
    caches.validation.emplace(open_checked(options.validation, "data.validation"));
  if (!options.unlabelled.empty())
    caches.unlabelled.emplace(open_checked(options.unlabelled, "data.unlabelled"));
  const auto& train = caches.train;
  const int64_t classes = train.classes(), dim = train.dim();
  DISSENT_CHECK(classes >= 1, kData,
                "data.train ({}): expected labelled rows, found none: every label is -1",
                options.train);
  train.check_labels(classes, false);
  for (const auto* other : {&caches.validation, &caches.unlabelled}) {
    if (!*other) continue;
    DISSENT_CHECK((*other)->dim() == dim, kData,
                  "{}: expected {} features a row, as {} has, found {}", (*other)->path(), dim,
                  options.train, (*other)->dim());
    check_same_network(train, **other);
  }
  if (caches.validation) caches.validation->check_labels(classes, false);
  const auto subset =
      options.subset.empty()
          ? std::nullopt
          : std::optional(read_row_subset(options.subset, options.subset_complement));
  caches.selection = select_rows(train, 0, train.passes(), subset);
  return caches;
}

// Shape and shard checksums of a cache; a SED file has none of the latter.
std::string identity_of(const char* role, const FeatureCache& cache) {
  std::string checksums;
  for (const auto& shard : cache.shards()) checksums += shard.checksum;
  const std::string hash =
      checksums.empty() ? ""
                        : fmt::format(" {:016x}", XXH3_64bits(checksums.data(), checksums.size()));
  return fmt::format("{} {}x{}{}", role, cache.rows(), cache.dim(), hash);
}

}  // namespace

void HeadData::close() {
  train.close();
  if (validation) validation->close();
  if (unlabelled) unlabelled->close();
}

void check_head_data(const CacheDataOptions& options) { open_caches(options); }

HeadData load_head_data(Communicator& world, Communicator& node, Communicator& run_node,
                        const CacheDataOptions& options, at::Device device) {
  std::optional<TrainCaches> caches;
  agree(world, [&] { caches.emplace(open_caches(options)); });
  const auto& [train, validation, unlabelled, selection] = *caches;
  HeadData data{{}, {}, {}, train.dim(), train.classes(), identity_of("train", train)};
  if (unlabelled) data.identity += ", " + identity_of("unlabelled", *unlabelled);
  agree_beyond(world, node, [&] {
    data.train = TrainRows::load(node, run_node, train, selection, options, device);
    if (validation)
      data.validation.emplace(
          HostResidency::load(node, *validation, select_rows(*validation, 0, 1)));
    if (unlabelled)
      data.unlabelled.emplace(HostResidency::load(node, *unlabelled, all_rows(*unlabelled)));
  });
  return data;
}

}  // namespace dissent
