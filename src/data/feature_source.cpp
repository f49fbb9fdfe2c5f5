#include "data/feature_source.hpp"

#include <dissent/error.hpp>

#include "data/datasets/registry.hpp"
#include "data/datasets/synthetic.hpp"

namespace dissent {
namespace {

FeatureSource synthetic_source(const ImageDataOptions& data) {
  auto set = std::make_shared<SyntheticSet>(SyntheticOptions{
      .seed = static_cast<uint64_t>(data.seed), .rows = data.rows, .dim = data.dim, .classes = data.classes, .test = data.split == "test"});
  return {.name = data.dataset + "/" + data.split,
          .rows = data.rows,
          .dim = data.dim,
          .classes = data.classes,
          .features = [set](int64_t pass, int64_t first, int64_t count) { return set->features(pass, first, count); },
          .labels = [set](int64_t first, int64_t count) { return set->labels(first, count); }};
}

FeatureSource pixel_source(const ImageDataOptions& data) {
  const auto set = load_images(data.dataset, data.root, data.split);
  return {.name = set.name,
          .rows = set.images.size(0),
          .dim = set.images.numel() / std::max<int64_t>(1, set.images.size(0)),
          .classes = set.classes,
          .features = [set](int64_t, int64_t first, int64_t count) { return pixel_features(set.images.narrow(0, first, count)); },
          .labels = [set](int64_t first, int64_t count) { return set.labels.narrow(0, first, count); }};
}

}  // namespace

FeatureSource open_source(const ImageDataOptions& data, const TrunkOptions& trunk) {
  const bool made = find_dataset(data.dataset).load == nullptr;
  DISSENT_CHECK(made == (trunk.model == "none"), kUsage, "data.dataset = \"{}\" goes with trunk.model = {}, found \"{}\"", data.dataset,
                made ? "\"none\": its rows are features already" : "\"pixels\": it has images", trunk.model);
  return made ? synthetic_source(data) : pixel_source(data);
}

}  // namespace dissent
