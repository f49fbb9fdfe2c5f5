#include <xxhash.h>

#include <fmt/format.h>

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

// Heads read the features of one network. SED files and pixels do not name one.
void check_same_network(const FeatureCache& train, const FeatureCache& other) {
  const auto &expected = train.spec(), &found = other.spec();
  DISSENT_CHECK(expected.weights.empty() || found.weights.empty() ||
                    (expected.weights == found.weights && expected.trunk == found.trunk),
                kData,
                "{}: expected features of {} with the weights {}, as {} has, found {} with {}; "
                "make all caches of a training with the same network and weights",
                other.path(), expected.trunk, expected.weights, train.path(), found.trunk,
                found.weights);
}

// The open caches of [data], and the rows of the training set.
struct TrainCaches {
  FeatureCache train;
  std::optional<FeatureCache> validation, unlabelled;
  RowSelection selection;
};

void check_training_set(const FeatureCache& train, const CacheDataOptions& options) {
  DISSENT_CHECK(train.classes() >= 1, kData,
                "data.train ({}): expected labelled rows, found none: every label is -1",
                options.train);
  train.check_labels(train.classes(), false);
}

// Validation and unlabelled rows go through the heads of the training set.
void check_same_features(const FeatureCache& train, const FeatureCache& other,
                         const CacheDataOptions& options) {
  DISSENT_CHECK(other.dim() == train.dim(), kData,
                "{}: expected {} features per row, as {} has, found {}", other.path(), train.dim(),
                options.train, other.dim());
  check_same_network(train, other);
}

RowSelection training_rows(const FeatureCache& train, const CacheDataOptions& options) {
  std::optional<RowSubset> subset;
  if (!options.subset.empty()) subset = read_row_subset(options.subset, options.subset_complement);
  return select_rows(train, 0, train.passes(), subset);
}

TrainCaches open_caches(const CacheDataOptions& options) {
  TrainCaches caches{open_checked(options.train, "data.train"), {}, {}, {}};
  if (!options.validation.empty())
    caches.validation.emplace(open_checked(options.validation, "data.validation"));
  if (!options.unlabelled.empty())
    caches.unlabelled.emplace(open_checked(options.unlabelled, "data.unlabelled"));

  // The training set decides the number of classes and features.
  const auto& train = caches.train;
  check_training_set(train, options);
  if (caches.validation) check_same_features(train, *caches.validation, options);
  if (caches.unlabelled) check_same_features(train, *caches.unlabelled, options);

  // Labels of the unlabelled set are never read, so they are not checked.
  if (caches.validation) caches.validation->check_labels(train.classes(), false);

  caches.selection = training_rows(train, options);
  return caches;
}

// Shape and shard checksums of a cache. A SED file has no checksums.
std::string identity_of(const char* role, const FeatureCache& cache) {
  std::string checksums;
  for (const auto& shard : cache.shards()) checksums += shard.checksum;

  // One hash over the checksums of all shards: a cache that was copied or moved keeps it.
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

  // A resumed run has to read the same contents, wherever they are stored.
  const auto& [train, validation, unlabelled, selection] = *caches;
  HeadData data{{}, {}, {}, train.dim(), train.classes(), identity_of("train", train)};
  if (unlabelled) data.identity += ", " + identity_of("unlabelled", *unlabelled);

  // Memory is shared by the ranks of a node; an error on one node ends the program on all.
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
